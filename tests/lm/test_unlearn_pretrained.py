"""Tests of a study of a pretrained model, from the command line."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lm.attacks.prompting import prompted
from lm.config import RunConfig
from lm.corpus import END, make_grammar, make_world, story_tokenizer
from lm.models import files
from lm.pretraining import load_task
from lm.stages import RESULT
from lm.task import StoryTask
from lm.unlearn import main
from oversight.runs import cli
from oversight.runs.folder import read_json
from tests.lm.evaluation.question_factories import small_tokenizer
from tests.lm.models.hf_factories import LLAMA, transformers

RUN = ("unrouted", "rmu", "era", "lora-pair", "lora-reversed", "gram-lora")


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
    assert main([*given, "--forget-topics", "forest", "sea", "--method", *RUN]) == 0
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
    for method in ("lora-pair", "gram-lora"):
        assert first[method] == pytest.approx(first["unrouted"], abs=1e-5)
    assert first["era"] == pytest.approx(first["unrouted"], abs=1e-5)


def test_gram_lora_has_an_adapter_for_each_topic(study: Path) -> None:
    trained = files.load(study / "runs" / "gram-lora-seed0" / "trained.safetensors")
    assert trained.module_names == ("forest", "sea")
    assert set(trained.parameter_targets()) == {
        *("original_parameters", "forest_parameters", "sea_parameters")
    }
    shares = read_json(study / "runs" / "gram-lora-seed0" / "result.json")["gradient_shares"]
    assert shares["forest"]["original_parameters"] == shares["forest"]["sea_parameters"] == 0
    assert set(shares) == {
        *("retain", "unlabeled", "forest", "sea"),
        *("forest+core", "sea+core", "retain+forest", "retain+sea"),
    }


def test_resuming_a_finished_study_writes_no_models(study: Path) -> None:
    written = {path: path.stat().st_mtime_ns for path in (study / "runs").rglob("*.safetensors")}
    assert main(["--resume", str(study)]) == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_large_weights_are_removed_once_no_run_reads_them(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    monkeypatch.setattr("lm.run.LARGE", 1)
    for method in RUN:
        (folder / "runs" / f"{method}-seed0" / "result.json").unlink()
    monkeypatch.setattr("lm.study.execute", lambda work, jobs, **_: map(work, jobs))
    assert main(["--resume", str(folder)]) == 0
    for method in RUN:
        run, kept = folder / "runs" / f"{method}-seed0", ["model"]
        kept += ["trained"] if method == "unrouted" else []
        assert sorted(path.stem for path in run.glob("*.safetensors")) == sorted(kept)
    results = [each / f"rmu-seed0/{RESULT}" for each in (study / "runs", folder / "runs")]
    for path in (results[1], folder / "runs" / "rmu-seed0" / "attack-same.json"):
        path.unlink()
    assert main(["--resume", str(folder)]) == 0  # from the repaired model
    before, after = (read_json(path)["curves"] for path in results)
    assert before == after


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--method", "lora-pair"], "lora-pair adapts a pretrained model: name one by --model"),
        (["--adapters.rank", "0"], "rank 0 was given: give 1 or more"),
        (["--gguf-file", "a.gguf"], "was given without a model"),
        (["--model", "a", "--size", "nano"], "--size nano and --model a were given: sizes are of"),
        (["--model", "nowhere"], "nowhere is no model that can be loaded"),
        (
            ["--rmu.layer", "4", "--method", "rmu"],
            r"--rmu\.layer 4 was given: give a layer below 4",
        ),
        (
            ["--cir.components", "127", "--method", "cir"],
            r"--cir\.components 127 was given: give fewer than 127, one below the features",
        ),
    ],
)
def test_unsupported_pretrained_models_are_refused(
    given: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        main(["--config", "smoke", "--run-dir", str(tmp_path / "study"), *given])
    assert not (tmp_path / "study").exists()


def changed(pretrained: Path, folder: Path, **sizes: int) -> Path:
    """Return the folder of another model with the same tokenizer."""
    shutil.copytree(pretrained, folder)
    sizes = {"vocab_size": 512, "max_position_embeddings": 192, "hidden_size": 8, **sizes}
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA, **sizes)).save_pretrained(
        folder
    )
    return folder


def test_models_that_do_not_fit_are_refused_before_anything_is_written(
    pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = changed(pretrained, tmp_path / "short", max_position_embeddings=64)
    other = changed(pretrained, tmp_path / "other")
    config = transformers.OPTConfig(
        vocab_size=512,
        hidden_size=8,
        word_embed_proj_dim=8,
        ffn_dim=12,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    transformers.OPTForCausalLM(config).save_pretrained(other)
    fixed = changed(pretrained, tmp_path / "fixed")
    config = transformers.BloomConfig(vocab_size=512, hidden_size=8, n_layer=3, n_head=2)
    transformers.BloomForCausalLM(config).save_pretrained(fixed)
    lacking = changed(pretrained, tmp_path / "lacking")
    weights = load_file(lacking / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, lacking / "model.safetensors", {"format": "pt"})
    out = tmp_path / "study"
    capsys.readouterr()  # drops the progress bars of what was saved here
    wide = ["cir", "--rmu.layer", "1", "--cir.layers", "0", "--cir.components", "999"]
    for model, more, message in (
        (short, [], "reads 64 tokens at most, and texts have up to 192"),
        (other, [], "the linear maps of the MLP are in OPTDecoderLayer itself"),
        (fixed, ["era"], "no setting of BloomConfig gives the number of hidden units"),
        (lacking, [], "lacks model.norm.weight: give a complete one"),
        (pretrained, ["--rmu.layer", "2"], "give a layer below 2, the number of layers"),
        (pretrained, wide, "--cir.components 999 was given: give fewer than"),
    ):
        given = ["--config", "smoke", "--model", str(model), "--run-dir", str(out)]
        assert cli.run(main, [*given, "--method", "unrouted", "rmu", *more]) == 2
        errors = capsys.readouterr().err.strip().splitlines()
        assert len(errors) == 1
        assert message in errors[0]
        assert not out.exists()


def test_stories_longer_than_the_context_are_refused_before_anything_is_written(
    pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = changed(pretrained, tmp_path / "letters"), tmp_path / "study"
    small_tokenizer(begins=False).save_pretrained(folder)
    given = ["--config", "smoke", "--model", str(folder), "--run-dir", str(out)]
    capsys.readouterr()
    assert cli.run(main, [*given, "--method", "unrouted"]) == 2
    assert "tokens, and there is room for 192" in capsys.readouterr().err
    assert not out.exists()


def test_stories_begin_as_the_model_was_pretrained(pretrained: Path, tmp_path: Path) -> None:
    folder = changed(pretrained, tmp_path / "chat")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"})
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|endoftext|>"]})
    tokenizer.save_pretrained(folder)
    plain, chat = (load_task(RunConfig(model=str(each))) for each in (pretrained, folder))
    stories = plain.sample(8, [0]).read().tokens
    assert plain.around == (END, END)
    assert (stories[:, 0] == 0).all()
    assert chat.around == ("<|endoftext|>", "<|endoftext|>")
    separator = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert torch.equal(chat.sample(8, [0]).read().tokens, stories.where(stories != 0, separator))
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    tokenizer.save_pretrained(folder)
    begun = load_task(RunConfig(model=str(folder)))
    assert begun.around == ("<s>", "<|endoftext|>")
    tokens = begun.sample(8, [0]).read().tokens
    assert (tokens[:, 0] == tokenizer.bos_token_id).all()
    assert torch.equal(tokens[:, 1:], stories.where(stories != 0, separator)[:, 1:])
    assert isinstance(begun, StoryTask)
    assert prompted(begun, "One morning")[0] == tokenizer.bos_token_id
