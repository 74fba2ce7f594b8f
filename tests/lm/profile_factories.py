"""Made-up results of runs with profiles, whose reports have known answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from lm.serving import kept_topics, subsets
from tests.lm.result_factories import result

TOPICS = ("forest", "sea")
VALIDATION = {
    section: [[step, 0.5 + 8 / (1 + step / 25)] for step in range(0, 801, 50)]
    for section in ("core", *TOPICS)
}
"""A curve of the law `0.5 + 8 (1 + step / 25)^-1`, the same for all sections."""


def loss_at(share: float) -> float:
    """Return the loss of the baseline after a share of its steps, that is, of a compute ratio."""
    return 0.5 + 8 / (1 + 800 * share / 25)


def profile(
    on: Sequence[str], ratios: Mapping[str, float], topics: Sequence[str] = TOPICS
) -> dict[str, Any]:
    """Return the record of a profile with given compute ratios; facts are a tenth lower."""
    return {
        "on": list(on),
        "kept": list(kept_topics(on, topics)),
        "topics": {
            topic: {"loss": loss_at(ratio), "facts": max(ratio - 0.1, 0.0)}
            for topic, ratio in ratios.items()
        },
    }


def routed(
    seed: int, forget: float = 0.1, retain: float = 0.9, method: str = "modules"
) -> dict[str, Any]:
    """Return a run whose profiles have the same compute ratio wherever a topic is kept, or not."""
    profiles = [
        profile(on, {"core": 0.95} | {t: retain if t in on else forget for t in TOPICS})
        for on in subsets(TOPICS)
    ]
    for topic in TOPICS:
        profiles[0]["topics"][topic] |= {"elicited_loss": 0.7, "elicited_facts": 0.6}
    return result(method, seed, profiles=profiles, label_recall=1.0, curves=[])


def baseline(seed: int) -> dict[str, Any]:
    """Return the run of the baseline, whose compute ratios are 1."""
    alone = profile(TOPICS, dict.fromkeys(("core", *TOPICS), 1.0))
    return result(
        "unrouted", seed, profiles=[alone], validation=VALIDATION, label_recall=1.0, curves=[]
    )


def filtered(seed: int, *kept: str) -> dict[str, Any]:
    """Return the run of filtering that keeps some topics."""
    name = "+".join(["filtered", *kept])
    ratios = {"core": 0.9} | {topic: 0.85 if topic in kept else 0.05 for topic in TOPICS}
    return result(name, seed, profiles=[profile(kept, ratios)], label_recall=1.0, curves=[])
