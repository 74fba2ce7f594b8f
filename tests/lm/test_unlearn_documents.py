"""Tests of a study that unlearns prepared documents, from the command line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lm import prepare
from lm.data.labeling import LabelerConfig
from lm.data.preparation import PreparationConfig
from lm.data.preparation import prepare as prepare_documents
from lm.data.sources import Files
from lm.models.hf_loading import load_tokenizer
from lm.unlearn import main
from oversight.runs import cli
from oversight.runs.folder import read_json
from tests.lm.data.factories import make_tokenizer, write_lines
from tests.lm.models.hf_factories import LLAMA, transformers

METHODS = ("gold", "unrouted", "rmu", "lora-pair", "gram-lora", "lora-branch")
DOCUMENTS = [
    {"text": f"Story {n}: the {'old forest' if n % 3 else 'wide sea'} was far away. The end."}
    for n in range(240)
]
SMALL = (
    *("--config", "smoke", "--workers", "1", "--adapters.rank", "2", "--rmu.layer", "1"),
    *("--task.stories", "24", "--exam.stories", "3", "--label-recall", "0.5"),
    *("--exam.calibration.steps", "5"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Llama with random weights, and its tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    make_tokenizer().save_pretrained(folder)
    config = transformers.LlamaConfig(
        **LLAMA, hidden_size=8, vocab_size=330, max_position_embeddings=64
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of documents, of which those about forests are to be forgotten."""
    folder = tmp_path_factory.mktemp("data")
    lines = write_lines(folder / "documents.jsonl", DOCUMENTS)
    made = ("--data", str(lines), "--tokenizer", str(model), "--out", str(folder / "out"))
    assert cli.run(prepare.main, [*made, "--context", "40"]) == 0
    return folder / "out"


def call(*flags: object) -> int:
    return cli.run(main, [*SMALL, *map(str, flags)])


@pytest.fixture(scope="module")
def study(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished study that takes seconds."""
    folder = tmp_path_factory.mktemp("study") / "study"
    given = ("--model", model, "--data", data, "--run-dir", folder)
    assert call(*given, "--method", *METHODS) == 0
    return folder


def test_summary_reports_losses_but_no_facts(study: Path) -> None:
    summary = read_json(study / "summary.json")
    assert {each["method"] for each in summary["results"]} == set(METHODS)
    assert (summary["failed"], summary["missing"]) == ({}, [])
    for each in summary["results"]:
        assert set(each["forget_loss"]) == {"before", "after", "repaired"}
        assert each["retain_calibrated_loss"]["repaired"] > 0
        assert each["relearned_forget_loss"] > 0
        assert not [
            name
            for name in each
            if "mcq" in name or "fact" in name or "entropy_lower_bound" in name
        ]
    assert "relearn" in summary["verdict"]
    assert "facts" not in summary["verdict"]
    assert (study / "figures" / "relearning.png").exists()


@pytest.mark.parametrize("method", METHODS)
def test_run_writes_its_attacks_and_sample_texts(study: Path, method: str) -> None:
    result = read_json(study / "runs" / f"{method}-seed0" / "result.json")
    assert [curve["attack"] for curve in result["curves"]] == ["same", "benign"]
    assert all(set(curve["values"]) == {"forget_loss", "retain_loss"} for curve in result["curves"])
    texts = result["samples"]["before"]
    assert all("forest" in text for text in texts["forget"])
    assert all("sea" in text for text in texts["retain"])


def test_resuming_a_finished_study_writes_no_models(study: Path) -> None:
    written = {path: path.stat().st_mtime_ns for path in (study / "runs").rglob("*.safetensors")}
    assert cli.run(main, ["--resume", str(study)]) == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_full_suite_runs_attacks_that_need_no_facts(
    model: Path, data: Path, tmp_path: Path
) -> None:
    given = ("--model", model, "--data", data, "--run-dir", tmp_path / "full")
    assert call(*given, "--method", "unrouted", "--attack", "full") == 0
    folder = tmp_path / "full" / "runs" / "unrouted-seed0"
    rows = read_json(folder / "result.json")["grid"]
    measured = {(row["attack"], row["figure"]) for row in rows}
    attacks = ("same", "benign", "lora-same", "lora-benign", "quantized")
    assert measured == {(attack, "loss") for attack in attacks}
    assert f"documents of {data}" in (folder / "MODEL_CARD.md").read_text()


def test_new_model_uses_the_tokenizer_of_the_documents(data: Path, tmp_path: Path) -> None:
    given = ("--data", data, "--run-dir", tmp_path / "new", "--method", "modules-classified")
    assert call(*given) == 0
    (result,) = read_json(tmp_path / "new" / "summary.json")["results"]
    assert result["forget_loss"]["repaired"] > 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data", "nowhere"), "nowhere holds no prepared data"),
        (("--forget-topics", "sea"), "documents take task.stories alone"),
        (("--label-errors", "topic"), "documents take iid"),
        (("--task.stories", "170"), "in the pool 'train' (70% of all), and 178 are needed"),
        (("--exam.stories", "30"), "prepare more, or give a smaller --exam.stories"),
        (("--attack.num-examples", "30"), "give a smaller --attack.num-examples"),
    ],
)
def test_unsupported_methods_and_settings_are_refused(
    data: Path,
    tmp_path: Path,
    flags: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("--data", data, "--run-dir", tmp_path / "study", *flags) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "study").exists()


def test_documents_prepared_with_another_tokenizer_are_refused(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers.AutoModelForCausalLM.from_pretrained(model).save_pretrained(tmp_path / "other")
    make_tokenizer(329).save_pretrained(tmp_path / "other")
    assert call("--data", data, "--model", tmp_path / "other", "--run-dir", tmp_path / "s") == 2
    assert "prepare the data with the model's own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("absent",),
            "has no document labeled forget, so that there is nothing to forget: prepare",
        ),
        (("old", "wide"), "has no document labeled retain, so that there is nothing to retain"),
    ],
)
def test_documents_with_nothing_to_forget_or_to_retain_are_refused(
    model: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = PreparationConfig(
        source=Files(path=write_lines(tmp_path / "documents.jsonl", DOCUMENTS)),
        labeler=LabelerConfig(words=words),
        context=40,
    )
    prepare_documents(config, load_tokenizer(model), tmp_path / "out")
    assert call("--data", tmp_path / "out", "--run-dir", tmp_path / "study") == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("recall", "found"),
    [("1.0", "seed 2 draws to train on, 0"), ("0.5", "seed 0 draws to train on, 1")],
)
def test_documents_that_a_seed_draws_without_any_labeled_forget_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], recall: str, found: str
) -> None:
    records = [
        {"text": f"Story {n}: the sea was far away.", "label": int(rarely)}
        for n, rarely in enumerate(np.random.default_rng(1).random(400) < 0.1)
    ]
    lines = write_lines(tmp_path / "documents.jsonl", records)
    made = ("--data", str(lines), "--tokenizer", str(model), "--out", str(tmp_path / "out"))
    labeler = ("--labeler", "field", "--forget-values", "1")
    assert cli.run(prepare.main, [*made, "--context", "40", *labeler]) == 0
    capsys.readouterr()
    given = ("--data", tmp_path / "out", "--run-dir", tmp_path / "study", "--batch-size", "1")
    few = ("--task.stories", "1", "--exam.stories", "2", "--seeds", "0", "1", "2", "3")
    labels = ("--label-recall", recall)
    assert call(*given, *few, *labels, "--attack.num-examples", "1", "--repair.stories", "4") == 2
    errors = capsys.readouterr().err
    assert f"of the 1 documents that {found} are to be forgotten, and 0 are labeled so" in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "study").exists()


def test_result_of_documents_that_were_prepared_anew_is_refused(
    study: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = data / "manifest.json"
    text = manifest.read_text()
    (checksum,) = [shard["checksum"] for shard in read_json(manifest)["shards"]]
    try:
        manifest.write_text(text.replace(checksum, "0" * 64))
        assert cli.run(main, ["--resume", str(study)]) == 2
    finally:
        manifest.write_text(text)
    errors = capsys.readouterr().err
    assert "holds another run: its documents is" in errors
    assert len(errors.strip().splitlines()) == 1


def test_damaged_shards_are_refused_before_a_study_starts(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data, tmp_path / "data")
    tokens = tmp_path / "data" / "tokens-00000.bin"
    tokens.write_bytes(tokens.read_bytes()[::-1])
    assert call("--data", tmp_path / "data", "--run-dir", tmp_path / "study") == 2
    errors = capsys.readouterr().err
    assert "data is damaged: remove the folder, and prepare the data anew" in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "study").exists()
