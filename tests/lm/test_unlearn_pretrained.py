"""Tests of a study of a pretrained model, from the command line."""

from pathlib import Path

import pytest
import torch

from lm.corpus import END, make_grammar, make_world, story_tokenizer
from lm.models import files
from lm.unlearn import main
from oversight.runs.folder import read_json
from tests.lm.models.hf_factories import LLAMA, transformers

RUN = ("unrouted", "rmu", "era", "lora-pair")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Llama with random weights, and its tokenizer."""
    folder = tmp_path_factory.mktemp("pretrained")
    fast = story_tokenizer(make_grammar(make_world(seed=0)), 400)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=fast, eos_token=END)
    config = transformers.LlamaConfig(
        **LLAMA, hidden_size=8, vocab_size=512, max_position_embeddings=192
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def study(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished study that takes seconds."""
    folder = tmp_path_factory.mktemp("study") / "study"
    given = ["--config", "smoke", "--model", str(pretrained), "--adapters.rank", "2"]
    given += ["--rmu.layer", "1", "--run-dir", str(folder), "--workers", "1"]
    given += ["--exam.questions", "3", "--exam.calibration.steps", "5"]
    assert main([*given, "--method", *RUN]) == 0
    return folder


@pytest.mark.parametrize("method", RUN)
def test_exported_plain_model_has_the_same_logits(study: Path, method: str) -> None:
    run = study / "runs" / f"{method}-seed0"
    plain = transformers.AutoModelForCausalLM.from_pretrained(run / "plain")
    tokenizer = transformers.AutoTokenizer.from_pretrained(run / "plain")
    assert type(plain) is transformers.LlamaForCausalLM
    read = torch.tensor([tokenizer.encode("One morning Anna walked past the market.")])
    model = files.load(run / "model.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(plain(read).logits, model(read), rtol=0, atol=1e-6)
    assert not model.expanded


def test_every_method_begins_with_the_pretrained_model(study: Path) -> None:
    losses = {
        method: read_json(study / "runs" / f"{method}-seed0" / "result.json")["training"]["loss"]
        for method in RUN
    }
    first = {method: loss[0] for method, loss in losses.items()}
    assert first["unrouted"] == first["rmu"]  # rmu reuses the unrouted model
    assert first["lora-pair"] == pytest.approx(first["unrouted"], abs=1e-5)
    assert first["era"] == pytest.approx(first["unrouted"], abs=1e-5)


def test_resuming_a_finished_study_writes_no_models(study: Path) -> None:
    written = {path: path.stat().st_mtime_ns for path in (study / "runs").rglob("*.safetensors")}
    assert main(["--resume", str(study)]) == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--method", "lora-pair"], "lora-pair adapts a pretrained model: name one by --model"),
        (["--adapters.rank", "0"], "rank 0 was given: give 1 or more"),
        (["--gguf-file", "a.gguf"], "was given without a model"),
        (["--model", "nowhere"], "nowhere is no model that can be loaded"),
    ],
)
def test_unsupported_pretrained_models_are_refused(
    given: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        main(["--config", "smoke", "--run-dir", str(tmp_path / "study"), *given])
    assert not (tmp_path / "study").exists()
