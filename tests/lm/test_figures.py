"""Tests of the figures of a study and of the TensorBoard page of a run."""

from pathlib import Path

import pytest
from matplotlib.axes import Axes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lm.config import Sweep
from lm.figures import (
    draw,
    pictured_rows,
    profiles_figure,
    recall_figure,
    relearning_figure,
    scalars,
    styles,
    write_page,
)
from lm.profile_report import Profiles, with_compute_ratios
from lm.report import FACTS_CURVE
from lm.results import Results
from lm.serving import subsets
from tests.lm.profile_factories import baseline, filtered, routed
from tests.lm.result_factories import curve, result

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


def test_draw_writes_figures_that_name_every_method(tmp_path: Path) -> None:
    figures: dict[Sweep, str] = {"none": "relearning", "labels": "label-recall"}
    for sweep, name in figures.items():
        assert draw(Results(RUNS), sweep, tmp_path)[0] == tmp_path / f"{name}.png"
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        text = (tmp_path / f"{name}.svg").read_text()
        assert all(f">{method}<" in text for method in ("gold", "unrouted", "filtered", "era"))


def labeled_ticks(axes: Axes) -> list[float]:
    """Return the heights inside a plot that have labels, after drawing."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    ticks = [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()]
    return [
        tick.get_loc() for tick in ticks if tick.label1.get_text() and low <= tick.get_loc() <= high
    ]


def test_every_axis_has_a_label() -> None:
    with_facts = [{**run, "relearned_facts": 0.5} for run in RUNS]
    relearning, recall = relearning_figure(Results(RUNS)), recall_figure(Results(with_facts))
    assert [axes.get_ylabel() for axes in relearning.axes] == [
        "nats per token, log scale",
        "share known",
    ]
    assert [axes.get_ylabel() for axes in recall.axes] == [
        "nats per token",
        "share known",
        "nats per token",
    ]
    for figure, label in ((relearning, "steps of the attack"), (recall, "label recall")):
        assert [axes.get_xlabel() for axes in figure.axes] == [label] * len(figure.axes)


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([6.0, 0.5], "log"), ([3.5, 1.1], "log"), ([12.4, 4.1], "log"), ([1.7, 1.6], "linear")],
)
def test_losses_have_a_log_axis_only_when_it_has_labels(losses: list[float], scale: str) -> None:
    runs = [result("gold", seed, curves=[curve(losses)]) for seed in range(2)]
    (axes,) = relearning_figure(Results(runs)).axes
    assert axes.get_yscale() == scale
    assert len(labeled_ticks(axes)) >= 2


def test_figures_omit_facts_when_none_were_measured() -> None:
    without_facts = [{**run, "curves": run["curves"][:1]} for run in RUNS]
    assert len(relearning_figure(Results(RUNS)).axes) == 2
    assert len(relearning_figure(Results(without_facts)).axes) == 1
    with_facts = [{**run, "relearned_facts": 0.5} for run in RUNS]
    assert len(recall_figure(Results(with_facts)).axes) == 3
    assert len(recall_figure(Results(RUNS)).axes) == 2


def test_draw_returns_nothing_without_attacks(tmp_path: Path) -> None:
    assert draw(Results([result("era", 0)]), "none", tmp_path / "figures") == []
    assert not (tmp_path / "figures").exists()


def test_heat_map_has_a_cell_for_each_profile_and_topic(tmp_path: Path) -> None:
    runs = [baseline(0), filtered(0), filtered(0, "sea"), routed(0)]
    results = Results(with_compute_ratios(runs))
    assert draw(results, "none", tmp_path) == [tmp_path / "profiles.png"]
    by_filter, by_modules, _ = profiles_figure(Profiles(results)).axes
    assert [axes.get_title() for axes in (by_filter, by_modules)] == ["filtered", "modules"]
    rows = [label.get_text() for label in by_filter.get_yticklabels()]
    assert rows == ["none", "forest", "sea", "forest + sea"]
    columns = [label.get_text() for label in by_modules.get_xticklabels()]
    assert columns == ["core", "forest", "sea"]
    shown = {tuple(map(round, text.get_position())): text.get_text() for text in by_filter.texts}
    assert shown == {
        **{(0, 0): "0.90", (1, 0): "0.05", (2, 0): "0.05"},
        **{(0, 2): "0.90", (1, 2): "0.05", (2, 2): "0.85"},
    }
    assert len(by_modules.texts) == 12
    framed = [patch for patch in by_modules.patches if patch.get_linewidth() == 1.0]
    assert len(framed) == 4 + 2 + 2  # the core of each profile, and the topics that it keeps


def test_sweep_has_a_heat_map_for_each_recall(tmp_path: Path) -> None:
    runs = [baseline(0), *({**routed(0), "label_recall": recall} for recall in (0.5, 1.0))]
    names = [path.name for path in draw(Results(with_compute_ratios(runs)), "labels", tmp_path)]
    assert names == ["profiles-recall0.5.png", "profiles-recall1.png"]


def test_heat_map_of_many_topics_has_no_more_rows_than_it_can_show() -> None:
    topics = [f"topic{k}" for k in range(7)]
    rows = pictured_rows(topics)
    assert rows == [(), *((topic,) for topic in topics), tuple(topics)]
    assert pictured_rows(topics[:6]) == subsets(topics[:6])


def test_styles_of_methods_are_distinct() -> None:
    looks = styles(["gold", "unrouted", *map(str, range(9))])
    assert len({(look.color, look.marker, look.line) for look in looks.values()}) == 11


RESULT = result(
    "era",
    0,
    curves=[curve([3.0, 1.0])],
    training={
        "loss": [[0, 7.0], [10, 2.0]],
        "gradient_share_expansion_parameters/forget": [[0, 0.25], [5, None]],
    },
    gradient_shares={"forget": {"expansion_parameters": 0.75}},
    samples={"before": {"forget": ["In the forest"]}, "repaired": {"forget": ["In the city"]}},
    adjacent_loss={"before": None},
)


def test_scalars_include_every_curve_and_omit_unknown_values() -> None:
    assert scalars(RESULT) == [
        *[("forget/loss", step, value) for step, value in enumerate((0.9, 3.0, 2.9))],
        *[("retain/loss", step, 1.0) for step in range(3)],
        ("training/loss", 0, 7.0),
        ("training/loss", 10, 2.0),
        ("training/gradient_share_expansion_parameters/forget", 0, 0.25),
        ("gradient_share_expansion_parameters/forget", 0, 0.75),
        ("relearning_same_forget_loss/16_examples_rate_0.001", 0, 3.0),
        ("relearning_same_forget_loss/16_examples_rate_0.001", 1, 1.0),
    ]


def test_write_page_replaces_an_earlier_page(tmp_path: Path) -> None:
    write_page(RESULT, tmp_path)
    write_page(RESULT, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    page = EventAccumulator(str(tmp_path))
    page.Reload()
    losses = page.Scalars("training/loss")
    assert [(event.step, event.value) for event in losses] == [(0, 7.0), (10, 2.0)]
    texts = [
        event.tensor_proto.string_val[0] for event in page.Tensors("samples/forget/text_summary")
    ]
    assert texts == [b"**before**\n\nIn the forest", b"**repaired**\n\nIn the city"]


def test_scalars_omit_losses_that_are_not_finite() -> None:
    diverged = result("gold", 0, 1.0, curves=[curve([3.0, 1.0])])
    diverged["curves"][0]["values"] = {"forget_loss": [3.0, None]}
    points = [point for point in scalars(diverged) if point[0].startswith("relearning")]
    assert [value for _, _, value in points] == [3.0]
