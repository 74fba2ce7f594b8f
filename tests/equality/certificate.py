"""The certificate's verdicts: what it says of each method, and of each planted leak."""

import re
from functools import partial
from pathlib import Path

from tests.equality.hashing import Case, Digests, numbers, read_json
from tests.equality.processes import module
from tests.equality.rl import REWARDS

SMALL = (
    *("--steps", 256, "--num-envs", 8, "--ppo.n-steps", 16, "--ppo.batch-size", 64),
    *("--ppo.hidden-sizes", 8),
)
ENVIRONMENTS: dict[str, tuple[object, ...]] = {
    "grid": ("--env", "PartialGrid-v0"),
    "grid, wrapped": ("--env", "PartialGrid-v0", "--wrapper", "vector"),
    "lanes": ("--env", "CartPole-v1"),
    "lanes, next step": ("--env", "CartPole-v1", "--autoreset", "next-step"),
    "lanes, disabled": ("--env", "CartPole-v1", "--autoreset", "disabled"),
    "single": ("--env", "FrozenLake-v1", "--wrapper", "single"),
}
EVERYWHERE = ("routed", "appraised", "oracle")


def cases() -> list[Case]:
    """Return the cases of this part."""
    cheap = [name for name in REWARDS if name not in EVERYWHERE]
    chosen = [(name, place) for name in EVERYWHERE for place in ENVIRONMENTS]
    chosen += [(name, place) for name in cheap for place in ("grid", "lanes")]
    return [
        *(Case(f"{name} on {place}", partial(certify, name, place)) for name, place in chosen),
        Case("self-test", self_test),
    ]


def certify(method: str, place: str, scratch: Path) -> Digests:
    """Certify a method, and return the numbers of its certificate."""
    path = scratch / "certificate.json"
    given = (*SMALL, *ENVIRONMENTS[place], "--method", method, "--save", path)
    shown = module("oversight.certify", *given, codes=(0, 1))
    saved = read_json(path)["certificates"]
    return {"verdict": "NOT" not in shown, "numbers": numbers(saved)}


def self_test(scratch: Path) -> Digests:
    """Plant every leak and every innocent part, and return what came out."""
    table, tally = module("oversight.certify", "--self-test", codes=(0, 1)).rstrip().rsplit("\n", 1)
    rows = [line for line in table.splitlines() if re.match(r" *[a-z0-9-]+  ", line)]
    return {
        "tally": re.findall(r"\d+", tally),
        "shows in": sorted(re.split(" {2,}", row.strip())[-1] for row in rows[1:]),
    }
