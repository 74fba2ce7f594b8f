"""The verdicts of the certificate on each method and on each planted leak."""

import re
from functools import partial
from pathlib import Path

from tests.equality.hashing import Case, Digests, numbers, read_json
from tests.equality.processes import run_module
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
"""The methods that are certified in every environment; the others in `grid` and `lanes`."""


def cases() -> dict[str, Case]:
    """Return the cases of this part."""
    return {
        **{
            f"{method} on {name}": partial(certify, method, name)
            for method in REWARDS
            for name in (ENVIRONMENTS if method in EVERYWHERE else ("grid", "lanes"))
        },
        "self-test": self_test,
    }


def certify(method: str, environment: str, scratch: Path) -> Digests:
    """Certify a method, and return the numbers of its certificate."""
    path = scratch / "certificate.json"
    args = (*SMALL, *ENVIRONMENTS[environment], "--method", method, "--save", path)
    printed = run_module("oversight.certify", *args, codes=(0, 1, 3))
    return {
        "verdict": "NOT" not in printed,
        "numbers": numbers(read_json(path)["certificates"]),
    }


def self_test(scratch: Path) -> Digests:
    """Return the results of the self-test, which plants every leak and every harmless part."""
    del scratch
    printed = run_module("oversight.certify", "--self-test", codes=(0, 1))
    table, tally = printed.rstrip().rsplit("\n", 1)
    rows = [line for line in table.splitlines() if re.match(r" *[a-z0-9-]+  ", line)]
    return {
        "tally": re.findall(r"\d+", tally),
        "shows in": sorted(re.split(" {2,}", row.strip())[-1] for row in rows[1:]),
    }
