"""Tests of the settings: what is refused, and which blocks are meant."""

from dataclasses import asdict
from typing import Any

import pytest

from lm.steering.config import (
    CorpusConfig,
    RouteConfig,
    RunConfig,
    SteeringConfig,
    StudyConfig,
)
from lm.steering.run import run_identity
from lm.training.distributed import ScaleConfig
from lm.training.loop import LoopConfig
from oversight.runs.folder import as_read


@pytest.mark.parametrize(
    ("schema", "values", "words"),
    [
        (CorpusConfig, {"concept_words": ()}, "concept_words"),
        (CorpusConfig, {"concept_words": ("a", "a")}, "each once"),
        (CorpusConfig, {"concept_words": ("a",), "related_words": ("a",)}, "out of one list"),
        (CorpusConfig, {"context": 1}, "context"),
        (RouteConfig, {"first_block": 0.8, "last_block": 0.2}, "range of blocks"),
        (RouteConfig, {"last_block": 1.5}, "last_block"),
        (SteeringConfig, {"coefficients": (0.2, 0.1)}, "ascending"),
        (SteeringConfig, {"budgets": (0.0, 0.1)}, "budgets"),
        (RunConfig, {"size": "huge"}, "unknown size"),
        (RunConfig, {"gguf_file": "m.gguf"}, "without a model"),
        (RunConfig, {"loop": LoopConfig(scale=ScaleConfig(accumulate=2))}, "loop.scale"),
        (RunConfig, {"loop": LoopConfig(audit=True)}, "--loop.audit was given"),
        (StudyConfig, {"seeds": (1, 1)}, "seeds"),
    ],
)
def test_setting_is_refused_in_words(schema: type[Any], values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        schema(**values)


def test_settings_of_the_audit_are_no_part_of_the_identity_of_a_run() -> None:
    loop = run_identity(RunConfig(), "routed", 0)["loop"]
    assert loop == as_read({**LoopConfig(steps=400).identity, "scale": asdict(ScaleConfig())})
    assert not [name for name in loop if name.startswith("audit")]


@pytest.mark.parametrize("depth", range(1, 40))
def test_blocks_exist_at_every_depth(depth: int) -> None:
    assert set(RouteConfig().blocks(depth)) <= set(range(depth))
    assert RouteConfig(first_block=0, last_block=1).blocks(depth) == range(depth)
    candidates = SteeringConfig().candidates(depth)
    assert set(candidates) <= set(range(depth))
    assert candidates[-1] == depth - 1


def test_block_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 3"):
        SteeringConfig(blocks=(4,)).candidates(4)
