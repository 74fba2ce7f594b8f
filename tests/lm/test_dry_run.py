"""Estimates without a run: closed forms, counted parameters, and every preset."""

from dataclasses import replace
from pathlib import Path

import pytest

from configs.lm import DOCUMENT_TOKENS, PRESETS
from lm import unlearn
from lm.config import RunConfig, StudyConfig
from lm.dry_run import Shape, memory, method_shape, operations
from lm.methods import METHODS
from lm.models.layers import SIZES, GPTConfig
from lm.training.distributed import ScaleConfig
from oversight.runs import cli

BLOCK = 12 * 64**2
N = 1000 * 64 + 3 * BLOCK
SHAPE = Shape(
    total=N, added=0, trained=N, block=BLOCK, lookups=0, layers=3, width=64, vocab_size=1000
)


def parts_of(gpus: int = 1, **scale: object) -> dict[str, int]:
    """Return the memory of a batch of 16 rows of 32 tokens."""
    return memory(SHAPE, 16, 32, ScaleConfig(**scale), gpus)  # type: ignore[arg-type]


def test_memory_of_one_gpu() -> None:
    assert parts_of() == {
        "weights": 4 * N + 2 * N,
        "gradients": 4 * N,
        "optimizer": 8 * N,
        "activations": 34 * 16 * 32 * 64 * 3,
        "logits": 12 * 16 * 32 * 1000,
    }


def test_ddp_divides_the_batch_and_fsdp_also_the_weights() -> None:
    alone, ddp, fsdp = parts_of(), parts_of(8, parallel="ddp"), parts_of(8, parallel="fsdp")
    for part in ("activations", "logits"):
        assert ddp[part] * 8 == fsdp[part] * 8 == alone[part]
    for part in ("weights", "gradients", "optimizer"):
        assert ddp[part] == alone[part]
    assert fsdp["gradients"] * 8 == alone["gradients"]
    assert fsdp["optimizer"] * 8 == alone["optimizer"]
    assert fsdp["weights"] == 4 * N // 8 + 2 * N + 4 * (1000 * 64 + 2 * BLOCK)


def test_accumulation_and_checkpoints_save_activations() -> None:
    assert parts_of(accumulate=4)["activations"] * 4 == parts_of()["activations"]
    again = parts_of(checkpoint_activations=True)
    assert again["activations"] == (2 * 3 + 34) * 16 * 32 * 64


def test_logits_of_a_large_vocabulary_are_held_in_pieces() -> None:
    qwen = method_shape(RunConfig(model="Qwen/Qwen2.5-0.5B"), METHODS["unrouted"], 1024)
    parts = memory(qwen, 8, 1024, ScaleConfig(), 1)
    assert parts["logits"] == 12 * 8 * 64 * 151_936  # a sixteenth of 1024 tokens at a time
    assert parts["gradients"] + parts["optimizer"] == 12 * 494_032_768


def test_operations_count_what_multiplies() -> None:
    assert operations(SHAPE, 32) == 6 * N + 12 * 3 * 64 * 32
    assert operations(SHAPE._replace(lookups=1000), 32) == 6 * (N - 1000) + 12 * 3 * 64 * 32


def closed_form(config: GPTConfig, units: int, embedded: bool) -> int:
    """Return the parameters of a GPT: 12 times the squared width in a block, and the embedding."""
    embeddings = config.vocab_size * config.width * (2 if embedded else 1)
    block = 12 * config.width**2 + 2 * config.width * units
    return embeddings + config.num_layers * block


@pytest.mark.parametrize("name", SIZES)
def test_our_sizes_have_the_parameters_of_the_closed_form(name: str) -> None:
    run = RunConfig(size=name)
    plain, era, modules = (
        method_shape(run, METHODS[method], 32) for method in ("gold", "era", "modules")
    )
    assert plain.total == plain.trained == closed_form(SIZES[name], 0, embedded=False)
    assert (plain.added, plain.lookups) == (0, 0)
    assert era.total == closed_form(SIZES[name], 64, embedded=False)
    assert modules.total == plain.total + modules.added == closed_form(SIZES[name], 64, True)
    assert modules.lookups == SIZES[name].vocab_size * SIZES[name].width


@pytest.mark.parametrize(
    ("model", "total", "units", "positions"),
    [
        ("HuggingFaceTB/SmolLM2-135M", 134_515_008, 30 * 3 * 576, 0),
        ("Qwen/Qwen2.5-0.5B/", 494_032_768, 24 * 3 * 896, 0),
        ("roneneldan/TinyStories-8M", 19_702_528, 8 * (2 * 256 + 1), 2048 * 256),
    ],
)
def test_published_models_have_the_parameters_that_are_published(
    model: str, total: int, units: int, positions: int
) -> None:
    run = RunConfig(model=model, expansion=3)
    plain = method_shape(run, METHODS["unrouted"], 32)
    assert (plain.total, plain.trained, plain.lookups) == (total, total, positions)
    era = method_shape(run, METHODS["era"], 32)
    assert era.total - total == era.trained - total == era.added == 3 * units


def test_adapters_train_and_blocks_are_frozen() -> None:
    run = RunConfig(model="HuggingFaceTB/SmolLM2-135M")
    plain, pair = (method_shape(run, METHODS[name], 32) for name in ("unrouted", "lora-pair"))
    maps = [(576, 576), (576, 192), (576, 192), (576, 576), (576, 1536), (576, 1536), (1536, 576)]
    rank = run.adapters.rank
    assert pair.added == 30 * 2 * rank * sum(inputs + outputs for inputs, outputs in maps)
    assert pair.trained == pair.total - 30 * plain.block


def study_of(preset: str) -> StudyConfig:
    return cli.override(StudyConfig(), PRESETS[preset][1])


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "pretrained"])
def test_every_preset_is_estimated_and_nothing_is_written(
    preset: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.run(unlearn.main, ["--config", preset, "--dry-run"]) == 0
    said = capsys.readouterr().out
    study = study_of(preset)
    context = DOCUMENT_TOKENS.get(preset, 96)
    assert f"{study.run.loop.steps * study.run.batch_size * context:,} tokens" in said
    assert all(name in said for name in study.method)
    assert "8 GPUs, fsdp" in said
    assert "was not measured" in said
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
def test_models_of_publications_have_the_published_sizes(
    preset: str, method: str, million: float
) -> None:
    shape = method_shape(study_of(preset).run, METHODS[method], DOCUMENT_TOKENS[preset])
    assert shape.total / 1e6 == pytest.approx(million, abs=0.05)


def test_a_training_has_as_many_tokens_as_is_published() -> None:
    for preset, tokens in (("sgtm-bilingual", 2.17e9), ("paper-virology", 13.1e9)):
        run = study_of(preset).run
        count = run.loop.steps * run.batch_size * DOCUMENT_TOKENS[preset]
        assert count == pytest.approx(tokens, rel=0.005)


def test_eight_gpus_can_share_the_batches_of_every_preset_for_documents() -> None:
    for name in DOCUMENT_TOKENS:
        run = study_of(name).run
        assert run.batch_size % (8 * run.loop.scale.accumulate) == 0, name


def test_an_unknown_pretrained_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the shape of a/b is not known: .* SmolLM2-135M"):
        method_shape(replace(RunConfig(), model="a/b"), METHODS["unrouted"])
