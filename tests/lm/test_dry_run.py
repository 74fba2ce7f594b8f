"""Tests of the estimates of a dry run: memory, operations and parameters of every preset."""

from dataclasses import replace
from pathlib import Path

import pytest

from configs.lm import DOCUMENT_TOKENS, PRESETS
from lm.config import RunConfig, StudyConfig
from lm.data.shards import write_manifest
from lm.data.task import TaskConfig
from lm.dry_run import Shape, disk, estimate, memory, method_shape, operations
from lm.methods import METHODS
from lm.models.shapes import SIZES, GPTConfig
from lm.training.assignment import AssignmentConfig
from lm.training.distributed import ScaleConfig
from lm.training.loop import LoopConfig
from lm.unlearn import main
from oversight.runs import cli
from tests.lm.data.factories import make_manifest
from tests.lm.models.hf_factories import LLAMA, transformers

BLOCK = 12 * 64**2
N = 1000 * 64 + 3 * BLOCK
SHAPE = Shape(total=N, added=0, trained=N, block=BLOCK, layers=3, width=64, vocab_size=1000)
STATE = (4 + 2 + 4 + 8) * N
"""Bytes of weights, their bfloat16 copies, gradients and the two moments of AdamW."""
ACTIVATIONS = 34 * 16 * 32 * 64 * 3
LOGITS = 12 * 16 * 32 * 1000


def memory_of_batch(gpus: int = 1, **scale: object) -> int:
    """Return the memory of a batch of 16 rows of 32 tokens."""
    return memory(SHAPE, 16, 32, ScaleConfig(**scale), gpus)  # type: ignore[arg-type]


def test_memory_is_that_of_state_activations_and_logits_on_one_gpu() -> None:
    assert memory_of_batch() == STATE + ACTIVATIONS + LOGITS


def test_ddp_divides_the_batch_and_fsdp_also_the_weights() -> None:
    batch = (ACTIVATIONS + LOGITS) // 8
    assert memory_of_batch(8, parallel="ddp") == STATE + batch
    weights = 4 * N // 8 + 2 * N + 4 * (1000 * 64 + 2 * BLOCK)
    assert memory_of_batch(8, parallel="fsdp") == weights + 12 * N // 8 + batch


def test_accumulation_and_checkpoints_save_activations() -> None:
    assert memory_of_batch(accumulate=4) == STATE + (ACTIVATIONS + LOGITS) // 4
    checkpointed = (2 * 3 + 34) * 16 * 32 * 64
    assert memory_of_batch(checkpoint_activations=True) == STATE + checkpointed + LOGITS


def test_logits_of_a_large_vocabulary_are_held_in_pieces() -> None:
    qwen = method_shape(RunConfig(model="Qwen/Qwen2.5-0.5B"), METHODS["unrouted"], 1024)
    logits = 12 * 8 * 64 * 151_936  # a sixteenth of 1024 tokens at a time
    activations = 34 * 24 * 8 * 1024 * 896
    assert memory(qwen, 8, 1024, ScaleConfig(), 1) == 18 * 494_032_768 + activations + logits


def test_operations_count_parameters_and_attention() -> None:
    assert operations(SHAPE, 32) == 6 * N + 12 * 3 * 64 * 32


def closed_form(config: GPTConfig, units: int, embedded: bool) -> int:
    """Return the parameters of a GPT: 12 times the squared width in a block, and the embedding."""
    embeddings = config.vocab_size * config.width * (2 if embedded else 1)
    block = 12 * config.width**2 + 2 * config.width * units
    return embeddings + config.num_layers * block


@pytest.mark.parametrize("name", SIZES)
def test_new_models_have_as_many_parameters_as_the_closed_form(name: str) -> None:
    run = RunConfig(size=name)
    plain, era, modules = (
        method_shape(run, METHODS[method], 32) for method in ("gold", "era", "modules")
    )
    assert plain.total == plain.trained == closed_form(SIZES[name], 0, embedded=False)
    assert plain.added == 0
    assert era.total == closed_form(SIZES[name], 64, embedded=False)
    assert modules.total == plain.total + modules.added == closed_form(SIZES[name], 64, True)


@pytest.mark.parametrize(
    ("model", "total", "units"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008, 30 * 3 * 576),
        ("Qwen/Qwen2.5-0.5B/", 494_032_768, 24 * 3 * 896),
        ("roneneldan/TinyStories-8M", 19_702_528, 8 * (2 * 256 + 1)),
    ],
)
def test_method_shape_matches_published_parameter_counts(
    model: str, total: int, units: int
) -> None:
    run = RunConfig(model=model, expansion=3)
    plain = method_shape(run, METHODS["unrouted"], 32)
    assert (plain.total, plain.trained) == (total, total)
    era = method_shape(run, METHODS["era"], 32)
    assert era.total - total == era.trained - total == era.added == 3 * units


def test_method_shape_counts_trained_adapters_and_frozen_blocks() -> None:
    run = RunConfig(model="HuggingFaceTB/SmolLM2-135M")
    plain, pair = (method_shape(run, METHODS[name], 32) for name in ("unrouted", "lora-pair"))
    maps = [(576, 576), (576, 192), (576, 192), (576, 576), (576, 1536), (576, 1536), (1536, 576)]
    rank = run.adapters.rank
    assert pair.added == 30 * 2 * rank * sum(inputs + outputs for inputs, outputs in maps)
    assert pair.trained == pair.total - 30 * plain.block


def study_of(preset: str) -> StudyConfig:
    return cli.override(StudyConfig(), PRESETS[preset][1])


@pytest.mark.parametrize("preset", sorted(PRESETS.keys() - {"pretrained", "texts", "known"}))
def test_dry_run_estimates_every_preset_and_writes_nothing(
    preset: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.run(main, ["--config", preset, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    study = study_of(preset)
    context = DOCUMENT_TOKENS.get(preset, 96)
    assert f"{study.run.loop.steps * study.run.batch_size * context:,} tokens" in printed
    assert all(name in printed for name in study.method)
    assert "fsdp" in printed
    assert "was not measured" in " ".join(printed.split())
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
        ("wmdp-zephyr-7b", "rmu", 7241.7),
    ],
)
def test_presets_train_models_of_the_published_sizes(
    preset: str, method: str, million: float
) -> None:
    shape = method_shape(study_of(preset).run, METHODS[method], DOCUMENT_TOKENS[preset])
    assert shape.total / 1e6 == pytest.approx(million, abs=0.05)


def test_presets_train_on_as_many_tokens_as_published() -> None:
    for preset, tokens in (("sgtm-bilingual", 2.17e9), ("paper-virology", 13.1e9)):
        run = study_of(preset).run
        count = run.loop.steps * run.batch_size * DOCUMENT_TOKENS[preset]
        assert count == pytest.approx(tokens, rel=0.005)


def test_batches_of_presets_for_documents_divide_among_eight_gpus() -> None:
    for name in DOCUMENT_TOKENS:
        run = study_of(name).run
        # without training, batches are those of a method that one GPU runs
        assert not run.loop.steps or run.batch_size % (8 * run.loop.scale.accumulate) == 0, name


def printed_by(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.run(main, [*arguments, "--dry-run"]) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of a model without weights, which estimates need not read."""
    monkeypatch.setenv("COLUMNS", "120")
    config = {**LLAMA, "hidden_size": 8, "vocab_size": 512, "tie_word_embeddings": True}
    transformers.LlamaConfig(**config).save_pretrained(tmp_path / "SmolLM2-135M")
    return tmp_path / "SmolLM2-135M"


def test_dry_run_prices_the_folder_of_a_model_at_the_length_of_its_stories(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_pretrained(folder))
    count = sum(each.numel() for each in plain.parameters())
    printed = printed_by(["--config", "pretrained", "--model", str(folder)], capsys)
    assert f"unrouted {count:,}" in printed
    assert f"{40 * 8 * 192:,} tokens: 40 steps x 8 x 192" in printed
    assert "all 4 runs keep" in printed


def test_dry_run_refuses_what_the_run_refuses(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for given, message in (
        (["--config", "pretrained"], "lora-pair adapts a pretrained model: name one by --model"),
        (["--config", "pretrained", "--model", str(tmp_path)], "is no model that can be loaded"),
        (["--config", "pretrained", "--model", "a/b"], "the shape of a/b is not known"),
    ):
        assert cli.run(main, [*given, "--dry-run"]) == 2
        assert message in capsys.readouterr().err


def test_dry_run_prices_rows_and_vocabulary_of_documents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    manifest = replace(make_manifest(size=700), settings={"context": 48}, complete=True)
    write_manifest(tmp_path, manifest)
    printed = printed_by(["--data", str(tmp_path), "--method", "gold"], capsys)
    assert f"gold {closed_form(GPTConfig(vocab_size=700), 0, embedded=False):,}" in printed
    assert "x 48." in printed


def test_hours_include_the_steps_of_a_labeler() -> None:
    config = RunConfig(loop=LoopConfig(steps=800), assignment=AssignmentConfig(share=0.25))
    study = StudyConfig(method=("gram", "gram-em"), run=config)
    hours = estimate(study).columns[7].cells
    gram, gram_em = (float(str(each)) for each in hours)
    assert gram_em == pytest.approx(1.25 * gram, rel=0.05)  # two digits are shown


def test_disk_counts_the_weights_that_are_kept() -> None:
    small = disk(SHAPE, "rmu", pretrained=False)
    assert small == (3 * 4 * N, 12 * N)  # trained, ablated and repaired, and a checkpoint
    large = SHAPE._replace(total=10**9, trained=10**9)
    assert disk(large, "rmu", pretrained=True) == (8 * 10**9, 12 * 10**9)
    assert disk(large, "unrouted", pretrained=True)[0] == 12 * 10**9  # rmu begins with it


def test_method_shape_refuses_an_unknown_pretrained_model() -> None:
    with pytest.raises(ValueError, match=r"the shape of a/b is not known: .* SmolLM2-135M"):
        method_shape(replace(RunConfig(), model="a/b"), METHODS["unrouted"])


def test_estimates_of_a_sweep_over_tax_have_a_row_for_each_shape_and_count_all_runs() -> None:
    run = RunConfig(task=TaskConfig(forget=("forest", "sea")))
    settings = {"expansions": (16, 64), "topic_counts": (1, 2), "seeds": (0, 1), "run": run}
    study = StudyConfig(method=("gram",), sweep="tax", **settings)  # type: ignore[arg-type]
    table = estimate(study)
    names, added = (list(table.columns[k].cells) for k in (0, 2))
    grams = dict(zip(names, added, strict=True))
    assert set(grams) == {
        *(f"{each}, {count}" for each in ("gold", "unrouted") for count in ("1 topic", "2 topics")),
        *(f"gram, {units} units, {c}" for units in (16, 64) for c in ("1 topic", "2 topics")),
    }
    one, two = (
        int(str(grams[f"gram, 16 units, {c}"]).replace(",", "")) for c in ("1 topic", "2 topics")
    )
    assert two == 2 * one
    assert "all 16 runs keep" in str(table.caption)  # 2 seeds, of 4 references and 4 others
