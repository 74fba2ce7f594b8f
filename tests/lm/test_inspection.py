"""Inspections of runs of unlearning: a run that is chosen, its weights, effects and refusals."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lm.config import StudyConfig
from lm.evaluation.topic_exam import examine_topics, make_topic_exam
from lm.inspection import LMInspection, arrow_weights, choose_run, inspect_run
from lm.models import files
from lm.run import run_method
from lm.training.route_tables import ERA, FILTERED, MODULES
from oversight import inspect
from oversight.runs import cli
from oversight.runs.folder import RunFolder, write_config
from tests.lm.evaluation.factories import tiny_task
from tests.lm.test_run import CONFIG, tiny_size
from tests.oversight.runs.refusals import Capture, refused

__all__ = ["tiny_size"]
TASK = tiny_task()
METHODS = ("unrouted", "modules", "era")
RUN = replace(CONFIG, task=replace(CONFIG.task, forget=("wood",)))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_size: None) -> Iterator[Path]:
    """Return the folder of a study, and let the command read its task."""
    folder = tmp_path_factory.mktemp("study")
    write_config(RunFolder(folder), StudyConfig(method=METHODS, seeds=(1,), run=RUN))
    for method in METHODS:
        run = folder / "runs" / f"{method}-seed1"
        run_method(RUN, TASK, method, 1, run, lambda stage, share: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.inspection.load_task", lambda config: TASK)
        yield folder


def run_inspect(*args: object) -> int:
    return cli.run(inspect.main, [str(arg) for arg in args])


def test_the_first_method_with_modules_is_chosen(study: Path) -> None:
    assert choose_run(study, None, None).name == "modules-seed1"
    assert choose_run(study, "era", 1).name == "era-seed1"
    assert choose_run(study / "runs" / "era-seed1", None, None).name == "era-seed1"


def test_ablation_is_that_of_the_saved_models(study: Path) -> None:
    run = study / "runs" / "modules-seed1"
    found = inspect_run(LMInspection(run, texts=8, examples=2)).data["ablation"]
    exam = make_topic_exam(TASK, 1, replace(RUN.exam, stories=8))
    trained = files.load(run / "trained.safetensors")
    assert found["whole"] == examine_topics(trained, exam)
    ablated = examine_topics(files.load(run / "ablated.safetensors"), exam)
    for section, figures in found["without expansion"].items():
        assert figures == pytest.approx(ablated[section])


@pytest.mark.parametrize("method", ["modules", "era"])
def test_page_is_written_for_each_kind_of_routing(
    study: Path, capsys: Capture, method: str
) -> None:
    assert run_inspect(study, "--method", method, "--texts", "8", "--examples", "2") == 0
    printed = capsys.readouterr().out
    assert "without expansion" in printed
    page = study / "runs" / f"{method}-seed1" / "inspect" / "index.html"
    assert "Loss" in page.read_text(encoding="utf-8")


def test_arrows_have_the_weight_on_the_way_to_an_expanded_mlp() -> None:
    modules = {"core": "original_parameters", "expansion": "expansion_parameters"}
    routes = ("retain", "forget")
    assert arrow_weights(MODULES, routes, modules) == {
        "retain": {"core": 1, "expansion": 0},
        "forget": {"core": 0, "expansion": 1},
    }
    assert arrow_weights(ERA, routes, modules)["forget"] == {"core": -0.75, "expansion": 1}
    assert arrow_weights(FILTERED, routes, modules)["forget"] == {"core": 0, "expansion": 0}


def test_what_cannot_be_inspected_is_one_line(study: Path, capsys: Capture, tmp_path: Path) -> None:
    assert "has no modules" in refused(capsys, run_inspect, study, "--method", "unrouted")
    assert "has no run of gram" in refused(capsys, run_inspect, study, "--method", "gram")
    assert "is one run" in refused(
        capsys, run_inspect, study / "runs" / "era-seed1", "--method", "era"
    )
    plain = StudyConfig(method=("unrouted", "rmu"), seeds=(1,), run=RUN)
    write_config(RunFolder(tmp_path), plain)
    assert "is a study without modules" in refused(capsys, run_inspect, tmp_path)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    write_config(RunFolder(unfinished), StudyConfig(method=METHODS, seeds=(1,), run=RUN))
    assert "no run of modules is finished" in refused(capsys, run_inspect, unfinished)
