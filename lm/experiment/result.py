"""The result of a run: what its stages found, in the form that reports read."""

from collections.abc import Mapping
from typing import Any

from lm.attack.records import from_json
from lm.attack.rows import rows_of, to_json

CONSTANT = ("_floor", "fact_guess_loss")
"""Ends of names of what an exam says of itself, whatever the model."""


def told(
    method: str,
    seed: int,
    training: Mapping[str, Any],
    seconds: Mapping[str, float],
    examined: Mapping[str, Mapping[str, Any]],
    attacks: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the result of a run as plain data.

    What `lm.evaluation.examine` reads off a model is there by its name, `before`, `after` (the
    cut) and `repaired`. A method that begins with a trained model counts its training, too.

    Args:
        method: its name.
        seed: of the run.
        training: the notes of training.
        seconds: of each stage.
        examined: the records of the three looks at the model.
        attacks: the records of the attacks, by name.
    """
    reports = {stage: record["report"] for stage, record in examined.items()}
    figures: dict[str, Any] = {}
    for name, value in reports["before"].items():
        stages = {stage: report[name] for stage, report in reports.items()}
        figures[name] = value if name.endswith(CONSTANT) else stages
    seconds = {**seconds, "trained": training["seconds"]}  # those of all its processes
    return {
        "method": method,
        "seed": seed,
        "tokens_per_second": training["tokens_per_second"],
        "wall_seconds": sum(seconds.values()),
        "seconds": seconds,
        **figures,
        "gradient_shares": examined["before"]["gradient_shares"],
        "training": {"loss": training["loss"]},
        "samples": {stage: record["samples"] for stage, record in examined.items()},
        **attacked(attacks),
    }


def attacked(attacks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the curves of relearning; and the grid of all attacks, if some train nothing.

    Args:
        attacks: the records of the attacks, by name.
    """
    curves = [curve for record in attacks.values() for curve in record.get("curves", ())]
    read = [row for record in attacks.values() for row in record.get("rows", ())]
    if not read:
        return {"curves": curves}
    trained = rows_of(map(from_json, curves))
    return {"curves": curves, "grid": [*map(to_json, trained), *read]}
