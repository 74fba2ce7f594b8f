"""Trajectories: what environments and wrappers return over 500 steps, single and of many lanes.

As a program, `python -m tests.equality.wrappers GROUP SCRATCH` prints the digests
of a group of trajectories as JSON; `cases` starts it in the checkout under test.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import NormalizeReward

from tests.equality.hashing import Case, Digests, array_digest, leaves
from tests.equality.names import keywords, load
from tests.equality.processes import driver

STEPS, LANES = 500, 4
MODES = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED)
STREAMS = ("observations", "rewards", "terminated", "truncated", "infos")
FLAGS = ("visible", "hidden")

Make = Callable[[], Any]
"""Returns a new environment, single or of many lanes."""
Chain = Sequence[tuple[str, dict[str, Any]]]
"""Wrappers from the inside out, each by its name and its arguments."""

HALF = ("PartialOversight", {"observed_probability": 0.5})
RECORD: tuple[str, dict[str, Any]] = ("RecordTruth", {})
OUTSIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "delayed by steps": ("DelayedOversight", {"steps": 3}),
    "delayed by episodes": ("DelayedOversight", {"episodes": 2}),
    "normalized": ("NormalizeObservedReward", {"gamma": 0.9}),
}


class Walk(gym.Env[Any, Any]):
    """A random walk that pays rewards of both signs and says in `info` where it is."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start somewhere."""
        super().reset(seed=seed)
        self.place = self.np_random.normal(size=3)
        return self.place.astype(np.float32), {"position": float(self.place[0])}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Move, and end by chance."""
        self.place = self.place + 0.1 * (action - 1) + 0.1 * self.np_random.normal(size=3)
        ended, cut = self.np_random.random(2) < (0.08, 0.02)
        reward = float(self.place[1] * 2 + self.np_random.normal())
        info = {"position": float(self.place[0])}
        return self.place.astype(np.float32), reward, bool(ended), bool(cut), info


def main(group: str, scratch: Path) -> None:
    """Print the digests of all trajectories of a group."""
    load("envs:IDS")  # importing the package registers the environments
    digests: Digests = {}
    for name, make in GROUPS[group](scratch):
        try:
            played = play(make)
        except ValueError:  # a refusal is a result, too; its words may change
            played = {"refused": "ValueError"}
        digests |= {f"{name}: {stream}": digest for stream, digest in played.items()}
    digests["ledgers"] = [ledger_digest(path) for path in sorted(scratch.glob("*.ledger"))]
    print(json.dumps(digests))


def ledger_digest(path: Path) -> str:
    """Return a hash of all columns of a ledger, and of its episodes."""
    steps = load("envs:read_ledger")(path)
    tables = (steps, load("envs:summarize_episodes")(steps))
    columns = (array_digest(table[name]) for table in tables for name in table.dtype.names)
    return hashlib.sha256("\n".join(sorted(columns)).encode()).hexdigest()[:20]


def play(make: Make) -> dict[str, str]:
    """Return a hash of each kind of thing that an environment returns over `STEPS` steps.

    Where it can be copied, it is: at half time a second environment goes on from its state, and
    must return the same, or the digest says so.
    """
    env = make()
    first, second, later = Trace(env), None, None
    observation, info = env.reset(seed=7)
    first.add(observation, info=info)
    for step in range(STEPS):
        if step == STEPS // 2 and (state := state_of(env)) is not None:
            later = make()
            later.reset(seed=1)
            later.set_state(state)
            first, second = Trace(env, first), Trace(later, first)
            second.over = first.over.copy()
        first.step()
        if second is not None:
            second.step()
    env.close()
    digests = first.digests()
    if second is not None and later is not None:
        later.close()
        digests["continued from state"] = str(second.digests() == digests)
    return digests


def state_of(env: Any) -> Any:  # noqa: ANN401
    """Return a copy of what an environment's future depends on, or None where it offers none."""
    try:
        return env.get_state() if hasattr(env, "num_envs") else None
    except (AttributeError, ValueError):
        return None


class Trace:
    """Hashes of what an environment returns as random actions are taken in it.

    Args:
        env: the environment, single or vector.
        before: a trace that this one goes on with.
    """

    def __init__(self, env: Any, before: "Trace | None" = None) -> None:  # noqa: ANN401
        self.env = env
        self.mode = env.metadata.get("autoreset_mode") if isinstance(env, VectorEnv) else None
        self.hashes: dict[str, Any] = {
            name: before.hashes[name].copy() if before else hashlib.sha256() for name in STREAMS
        }
        self.actions = np.random.default_rng(3)
        if before:
            self.actions.bit_generator.state = before.actions.bit_generator.state
        self.over = np.zeros(getattr(env, "num_envs", 1), dtype=np.bool_)

    def step(self) -> None:
        """Take a random action in each lane, after the resets that the environment leaves to us."""
        env = self.env
        if self.over.any() and not isinstance(env, VectorEnv):
            observation, info = env.reset()
            self.add(observation, info=info)
        elif self.over.any() and self.mode is AutoresetMode.DISABLED:
            observation, info = env.reset(options={"reset_mask": self.over.copy()})
            self.add(observation, info=info)
        observation, reward, terminated, truncated, info = env.step(self.action())
        self.over = np.atleast_1d(terminated | truncated)
        self.add(observation, reward, terminated, truncated, info=info)

    def action(self) -> Any:  # noqa: ANN401
        """Draw an action, uniform also where the space has no bounds."""
        vector = isinstance(self.env, VectorEnv)
        space = self.env.single_action_space if vector else self.env.action_space
        size = (self.env.num_envs,) if vector else ()
        if isinstance(space, spaces.Discrete):
            return self.actions.integers(space.n, size=size)
        return self.actions.uniform(-1, 1, (*size, *space.shape)).astype(space.dtype)

    def add(self, *values: Any, info: Mapping[str, Any]) -> None:  # noqa: ANN401
        """Hash what was returned; of an info the values alone, in an order of their own."""
        for name, value in zip(STREAMS, values, strict=False):
            self.hashes[name].update(array_digest(value).encode())
        told = sorted(array_digest(value) for _, value in leaves(arranged(info)))
        self.hashes["infos"].update("\n".join(told).encode())

    def digests(self) -> dict[str, str]:
        """Return the hashes as text."""
        return {name: each.hexdigest()[:20] for name, each in self.hashes.items()}


def arranged(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return an info in which `final_obs` has the lanes that ended alone, as one array.

    Gymnasium's vector environments have an array of objects there, native ones an array.
    """
    known = dict(info)
    if "final_obs" in known:
        known["final_obs"] = np.stack(list(known["final_obs"][known["_final_obs"]]))
    return known


def total(observation: Any) -> Any:  # noqa: ANN401
    """Return the sum of the first numbers of each observation: of a board, where the agent is."""
    return observation.reshape(len(observation), -1)[:, :12].sum(axis=1, dtype=np.float64)


def low(observation: Any) -> Any:  # noqa: ANN401
    """Return whether that sum is not positive: of a board, whether the agent is below the top."""
    return total(observation) <= 0


def guess(before: Any, action: Any, after: Any, terminated: Any, truncated: Any) -> Any:  # noqa: ANN401
    """Return a reward that depends on all that a proxy is given."""
    moved = total(after) - total(before)
    return moved + 0.5 * np.asarray(action, np.float64) + 2.0 * terminated - truncated


def oversights() -> dict[str, dict[str, Any]]:
    """Return arguments of `PartialOversight`: each observer, compositions, and each option."""

    def make(name: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        return load(f"envs:{name}")(*args, **keywords(**options))

    coin, step = make("EpisodeCoin", 0.5), make("StepCoin", 0.3)
    region = make("Region", low)
    observers = {
        "episode coin": coin,
        "other stream": make("EpisodeCoin", 0.5, stream=3),
        "step coin": step,
        "schedule by episode": make("Schedule", lambda clock: 1.0 / (1 + clock)),
        "schedule by step": make("Schedule", lambda clock: 0.5 + 0.5 * (clock < 90), by="step"),
        "budget": make("Budget", 4, every=3),
        "region at start": region,
        "region at arrival": make("Region", low, at="arrival"),
        "asked by the agent": make("Query", 0.25),
        "asked by a rule": make("Query", 0.25, rule=low),
        "noisy episodes": make("Noisy", coin, flip=0.3, miss=0.2),
        "noisy steps": make("Noisy", step, flip=0.3, miss=0.2, stream=5),
        "noisy rewards": make("Noisy", coin, flip=0.5, side="rewards"),
        "noisy punishments": make("Noisy", coin, flip=0.5, side="punishments"),
        "adversarial": make("Adversarial", coin, 6, every=2),
        "and": region & coin,
        "or": region | make("Noisy", step, flip=0.3),
        "not": ~region,
        "all of them": (make("Query", 0.1) | ~step) & make("Noisy", coin, flip=0.4, miss=0.1),
    }
    return {
        **{name: {"observer": observer} for name, observer in observers.items()},
        "proxy": {"observer": coin, "proxy": guess},
        "proxy by step": {"observer": step, "proxy": guess},
        "paid by proxy": {"observer": coin, "proxy": guess, "reward": "proxy"},
        "proxy of none": {"observer": coin, "reward": "proxy"},
        "question and proxy": {"observer": make("Query", 0.25) & coin, "proxy": guess},
        "flag": {"observer": coin, "flag": "visible"},
        "flag by step": {"observer": step, "flag": "visible", "proxy": guess},
        "noisy flag": {"observer": coin, "flag": make("NoisyFlag", miss=0.2, false_alarm=0.3)},
        "noisy flag by step": {"observer": region, "flag": make("NoisyFlag", false_alarm=0.3)},
        "info let through": {"observer": coin, "allow": ("position",)},
        "other seed": {"observed_probability": 0.4, "seed": 11},
        "refused: flag": {"observer": make("Query", 0.25), "flag": "visible"},
    }


def grown(env: Any, chain: Chain, scratch: Path) -> Any:  # noqa: ANN401
    """Return an environment with wrappers around it, from the inside out; ledgers are new files."""
    lanes = isinstance(env, VectorEnv)
    for name, options in chain:
        kind = load(f"envs.wrappers.vector:{name}" if lanes else f"envs:{name}")
        ledger = {"path": scratch / f"{len(list(scratch.iterdir()))}.ledger"}
        env = kind(env, **keywords(**options, **(ledger if name == "RecordTruth" else {})))
    return env


def in_every_form(name: str, make: Make, chain: Chain, scratch: Path) -> Iterator[tuple[str, Make]]:
    """Yield a wrapped environment alone, and in lanes with each autoreset mode."""
    yield f"{name}, single", lambda: grown(make(), chain, scratch)
    for mode in MODES:

        def lanes(mode: AutoresetMode = mode) -> Any:  # noqa: ANN401
            return grown(SyncVectorEnv([make] * LANES, autoreset_mode=mode), chain, scratch)

        yield f"{name}, {mode.name}", lanes


def partial_oversight(scratch: Path) -> Iterator[tuple[str, Make]]:
    """Yield `PartialOversight` with every observer, composition and option."""
    cart = partial(gym.make, "CartPole-v1", disable_env_checker=True)
    yield from in_every_form("CartPole", cart, [HALF], scratch)
    for name, options in oversights().items():
        yield from in_every_form(name, Walk, [("PartialOversight", options)], scratch)


def others(scratch: Path) -> Iterator[tuple[str, Make]]:
    """Yield the other wrappers around `PartialOversight` or inside it, and orders to refuse."""
    by_step = ("PartialOversight", {"observer": load("envs:StepCoin")(0.3), "proxy": guess})
    chains: dict[str, Chain] = {
        **{f"{name}, by episode": [HALF, part] for name, part in OUTSIDE.items()},
        **{f"{name}, by step": [by_step, part] for name, part in OUTSIDE.items()},
        "delayed and normalized": [HALF, OUTSIDE["delayed by steps"], OUTSIDE["normalized"]],
        "recorded": [RECORD, by_step],
        "refused: normalized before": [OUTSIDE["normalized"], HALF],
        "refused: delayed before": [OUTSIDE["delayed by steps"], HALF],
        "refused: overseen twice": [HALF, HALF],
        "refused: recorded outside": [HALF, RECORD],
    }
    for name, chain in chains.items():
        yield from in_every_form(name, Walk, chain, scratch)
    short = [("FixedHorizon", {"horizon": 15, "keep": ("position",)})]
    inside: dict[str, Make] = {
        "fixed horizon": lambda: grown(Walk(), short, scratch),
        "refused: normalizer": lambda: NormalizeReward(Walk()),
    }
    for name, make in inside.items():
        yield from in_every_form(f"{name} inside", make, [HALF], scratch)


def grid(scratch: Path) -> Iterator[tuple[str, Make]]:
    """Yield `PartialGrid-v0` with its options, and with wrappers around it."""

    def both(name: str, chain: Chain, **options: Any) -> Iterator[tuple[str, Make]]:  # noqa: ANN401
        given = keywords(**options)
        one = partial(gym.make, "PartialGrid-v0", disable_env_checker=True, **given)
        many = partial(gym.make_vec, "PartialGrid-v0", num_envs=LANES, **given)
        yield f"{name}, single", lambda: grown(one(), chain, scratch)
        yield f"{name}, vector", lambda: grown(many(), chain, scratch)

    for reward, flag, chance in product(("observed", "proxy", "true"), FLAGS, (0.0, 0.1, 0.5, 1.0)):
        name = f"{reward} reward, {flag} flag, {chance:g} overseen"
        yield from both(name, [], reward=reward, flag=flag, oversight_probability=chance)
    for size, horizon in ((2, 5), (8, 50)):
        yield from both(f"{size} rows", [], size=size, horizon=horizon, oversight_probability=0.5)
    fixed = ("FixedHorizon", {"horizon": 20})
    for name, observer in {"fixed": {"observed_probability": 0.5}, **oversights()}.items():
        chain: Chain = [fixed, RECORD] if name == "fixed" else [RECORD]
        oversight = ("PartialOversight", observer)
        yield from both(f"true, {name}", [*chain, oversight, OUTSIDE["normalized"]], reward="true")
    for name, part in OUTSIDE.items():
        yield from both(f"own oversight, {name}", [part], oversight_probability=0.5)


GROUPS = {"partial oversight": partial_oversight, "other wrappers": others, "grid": grid}


def cases() -> list[Case]:
    """Return a case for each group."""

    def run(group: str) -> Callable[[Path], Digests]:
        return lambda scratch: dict(json.loads(driver("wrappers", group, scratch)))

    return [Case(f"trajectories, {group}", run(group)) for group in GROUPS]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
