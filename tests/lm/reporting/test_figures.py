"""The figures are drawn where there is something to draw, and show every method."""

from pathlib import Path

from lm.report import FACTS_CURVE, Labeled, Runs
from lm.report_figures import draw, label_recall, relearning, styles
from tests.lm.reporting import curve, result

RUNS = [
    result(
        method,
        seed,
        1.0 + seed,
        label_recall=recall,
        curves=[
            curve([3.0, 1.0 + seed]),
            curve([0.2, 0.4], FACTS_CURVE.attack, FACTS_CURVE.measure),
        ],
    )
    for method, recall in (("gold", 1.0), ("unrouted", 1.0), ("filtered", 0.5), ("era", 0.5))
    for seed in range(2)
]


def test_a_figure_is_a_picture_that_names_every_method(tmp_path: Path) -> None:
    for told, name in ((Runs(RUNS), "relearning"), (Labeled(RUNS), "label-recall")):
        assert draw(told, tmp_path) == [tmp_path / f"{name}.png"]
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        words = (tmp_path / f"{name}.svg").read_text()
        assert all(f">{method}<" in words for method in ("gold", "unrouted", "filtered", "era"))


def test_without_facts_there_is_no_plot_of_them() -> None:
    plain = [{**run, "curves": run["curves"][:1]} for run in RUNS]
    for runs, told in ((RUNS, 2), (plain, 1)):
        drawing = relearning(Runs(runs))
        assert len(drawing.draw(False).axes) == len(drawing.draw(True).axes) == told
        assert ("asked for the other half" in drawing.caption) == (told == 2)
    asked = [{**run, "relearned_facts": 0.5} for run in RUNS]
    for runs, told in ((asked, 3), (RUNS, 2)):
        drawing = label_recall(Labeled(runs))
        assert len(drawing.draw(False).axes) == told
        assert ("0.25 is chance" in drawing.caption) == (told == 3)


def test_nothing_is_drawn_of_what_was_not_attacked(tmp_path: Path) -> None:
    assert draw(Runs([result("era", 0)]), tmp_path / "figures") == []
    assert not (tmp_path / "figures").exists()


def test_no_two_methods_look_alike() -> None:
    looks = styles(["gold", "unrouted", *map(str, range(9))])
    assert len({(look.color, look.marker, look.line) for look in looks.values()}) == 11
