"""What a study takes is told offline, for every preset, and nothing is written."""

from pathlib import Path

import pytest

from configs.lm import DOCUMENTS, PRESETS
from lm import unlearn
from lm.config import StudyConfig
from lm.dry_run import method_shape
from lm.methods import METHODS
from oversight.runs import cli


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "pretrained"])
def test_every_preset_tells_what_it_takes_and_writes_nothing(
    preset: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.run(unlearn.main, ["--config", preset, "--dry-run"]) == 0
    said = capsys.readouterr().out
    study = PRESETS[preset]()
    context = DOCUMENTS[preset].context if preset in DOCUMENTS else 96
    assert f"{study.loop.steps * study.batch_size * context:,} (" in said
    assert all(name in said for name in study.method)
    assert "8 GPUs, fsdp" in said
    assert "was not" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("preset", "method", "million"),
    [
        ("paper-tinystories", "unrouted", 50.9),
        ("paper-tinystories", "era", 51.4),
        ("sgtm-bilingual", "gold", 63.5),
        ("paper-virology", "unrouted", 799.6),
        ("tinystories-8m", "unrouted", 19.2),
        ("wmdp-qwen0.5b", "unrouted", 494.0),
    ],
)
def test_models_of_publications_have_the_sizes_that_are_told(
    preset: str, method: str, million: float
) -> None:
    shape = method_shape(PRESETS[preset](), METHODS[method], DOCUMENTS[preset].context)
    assert shape.total / 1e6 == pytest.approx(million, abs=0.05)


def test_a_training_has_as_many_tokens_as_is_published() -> None:
    for preset, tokens in (("sgtm-bilingual", 2.17e9), ("paper-virology", 13.1e9)):
        study = PRESETS[preset]()
        count = study.loop.steps * study.batch_size * DOCUMENTS[preset].context
        assert count == pytest.approx(tokens, rel=0.005)


def test_a_preset_for_documents_is_not_run_on_stories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(unlearn.main, ["--config", "paper-tinystories"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: paper-tinystories is for documents: prepare some, of 256 tokens")
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_is_gone_on_with_is_not_estimated(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(unlearn.main, ["--resume", "runs/a", "--dry-run"]) == 2
    assert capsys.readouterr().err.startswith("error: --dry-run and --resume were given: new")


def test_rows_of_every_preset_are_shared_by_eight_gpus() -> None:
    for name in DOCUMENTS:
        study = PRESETS[name]()
        scale = study.loop.scale
        assert study.batch_size % (8 * scale.accumulate) == 0, name


def test_an_unknown_pretrained_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the shape of a/b is not known: .* SmolLM2-135M"):
        method_shape(StudyConfig(model="a/b"), METHODS["unrouted"])
