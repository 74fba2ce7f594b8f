"""Made-up results of runs, for tests with known answers."""

from pathlib import Path
from typing import Any

from lm.config import RunConfig
from lm.run import run_identity
from lm.stages import Stages


def result(method: str, seed: int, relearned: float | None = 1.0, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the result of a run."""
    stages = {"before": 0.9, "after": 3.0, "repaired": 2.9}
    return {
        "method": method,
        "seed": seed,
        "forget_loss": stages,
        "adjacent_loss": dict.fromkeys(stages, 1.1),
        "retain_loss": dict.fromkeys(stages, 1.0),
        "relearned_forget_loss": relearned,
        "steps_to_relearn": None,
        "label_precision": 1.0,
        "expansion": None,
        "topic_count": 1,
        **more,
    }


def retained(loss: float) -> dict[str, dict[str, float]]:
    """Return the retain loss of a run, for `result`."""
    return {"retain_loss": dict.fromkeys(("before", "after", "repaired"), loss)}


def curve(
    losses: list[float], attack: str = "same", measure: str = "forget_loss", **more: object
) -> dict[str, Any]:
    """Return a relearning curve over the steps 0, 1, ..."""
    steps = list(range(len(losses)))
    return {
        "attack": attack,
        "learning_rate": 1e-3,
        "num_examples": 16,
        "seed": 0,
        "steps": steps,
        "values": {measure: losses},
        **more,
    }


def write_result(config: RunConfig, folder: Path, made: dict[str, Any]) -> None:
    """Write a made-up result into the folder of a run, as the run does."""
    folder.mkdir(parents=True, exist_ok=True)
    Stages(folder, run_identity(config, {}, made["method"], made["seed"])).write_result(made)
