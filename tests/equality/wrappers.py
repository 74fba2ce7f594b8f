"""Trajectories of environments and wrappers over 500 steps, single and of many lanes.

As a program, `python -m tests.equality.wrappers GROUP SCRATCH` prints the digests of a group of
trajectories as JSON; `cases` starts it in the checkout under test.
"""

import copy
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

import envs
from envs import (
    Adversarial,
    Budget,
    EpisodeCoin,
    Noisy,
    NoisyFlag,
    Query,
    Region,
    Schedule,
    StepCoin,
)
from envs.wrappers import vector
from tests.equality.hashing import Case, Digests, array_digest, hashed, leaves
from tests.equality.processes import run_driver

STEPS, LANES = 500, 4
MODES = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED)
STREAMS = ("observations", "rewards", "terminated", "truncated", "infos")

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
    """A random walk that pays rewards of both signs and reports its position in `info`."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:  # noqa: ANN401
        """Draw the first position."""
        super().reset(seed=seed)
        self.position = self.np_random.normal(size=3)
        return self.position.astype(np.float32), {"position": float(self.position[0])}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Move, and end at random."""
        self.position = self.position + 0.1 * (action - 1) + 0.1 * self.np_random.normal(size=3)
        ended, cut = self.np_random.random(2) < (0.08, 0.02)
        reward = float(self.position[1] * 2 + self.np_random.normal())
        info = {"position": float(self.position[0])}
        return self.position.astype(np.float32), reward, bool(ended), bool(cut), info


def main(group: str, scratch: Path) -> None:
    """Print the digests of all trajectories of a group."""
    digests: Digests = {}
    for name, make in GROUPS[group](scratch):
        try:
            trajectory = play(make)
        except ValueError:  # a refusal is a result, too; its words may change
            trajectory = {"refused": "ValueError"}
        digests |= {f"{name}: {stream}": digest for stream, digest in trajectory.items()}
    digests["ledgers"] = [ledger_digest(path) for path in sorted(scratch.glob("*.ledger"))]
    print(json.dumps(digests))


def ledger_digest(path: Path) -> str:
    """Return a hash of all columns of a ledger, and of its episodes."""
    steps = envs.read_ledger(path)
    tables = (steps, envs.summarize_episodes(steps))
    return hashed(
        sorted(array_digest(table[name]) for table in tables for name in table.dtype.names or ())
    )


def play(make: Make) -> dict[str, str]:
    """Return a hash of each part of what an environment returns over `STEPS` steps.

    If the environment has a state, a second one continues from that at half time. A digest tells
    whether both returned the same.
    """
    players = [Player(make())]
    players[0].reset(seed=7)
    players[0].play(STEPS // 2)
    if (state := state_of(players[0].env)) is not None:
        players.append(players[0].continued(make(), state))
    for player in players:
        player.play(STEPS // 2)
        player.env.close()
    digests, *others = (player.digests() for player in players)
    for other in others:
        digests["continued from state"] = str(other == digests)
    return digests


def state_of(env: Any) -> Any:  # noqa: ANN401
    """Return a copy of the state of a vector environment, or None if it has none."""
    try:
        return env.get_state() if hasattr(env, "num_envs") else None
    except (AttributeError, ValueError):
        return None


class Player:
    """Takes random actions in an environment, single or vector, and records what it returns."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        self.env = env
        self.actions = np.random.default_rng(3)
        self.ended = np.zeros(getattr(env, "num_envs", 1), dtype=np.bool_)
        self.returned: dict[str, list[str]] = {name: [] for name in STREAMS}

    def continued(self, env: Any, state: Any) -> "Player":  # noqa: ANN401
        """Return a player that continues in another environment, from a state of this one."""
        env.reset(seed=1)
        env.set_state(state)
        other = copy.copy(self)
        other.env, other.actions = env, copy.deepcopy(self.actions)
        other.returned = {name: [*values] for name, values in self.returned.items()}
        return other

    def reset(self, **options: Any) -> None:  # noqa: ANN401
        """Reset the environment."""
        observation, info = self.env.reset(**options)
        self.record(observation, info=info)

    def play(self, steps: int) -> None:
        """Take random actions, and reset the lanes that the environment does not reset itself."""
        is_vector, mode = isinstance(self.env, VectorEnv), self.env.metadata.get("autoreset_mode")
        space = self.env.single_action_space if is_vector else self.env.action_space
        size = (self.env.num_envs,) if is_vector else ()
        for _ in range(steps):
            if self.ended.any() and not is_vector:
                self.reset()
            elif self.ended.any() and mode is AutoresetMode.DISABLED:
                self.reset(options={"reset_mask": self.ended.copy()})
            action = self.actions.integers(space.n, size=size)
            observation, reward, terminated, truncated, info = self.env.step(action)
            self.ended = np.atleast_1d(terminated | truncated)
            self.record(observation, reward, terminated, truncated, info=info)

    def record(self, *values: Any, info: Mapping[str, Any]) -> None:  # noqa: ANN401
        """Record digests of the values, and of an info only its values, in sorted order."""
        for name, value in zip(STREAMS, values, strict=False):
            self.returned[name].append(array_digest(value))
        inside = sorted(array_digest(value) for _, value in leaves(arranged(info)))
        self.returned["infos"].append("\n".join(inside))

    def digests(self) -> dict[str, str]:
        """Return a hash of everything that was recorded, by stream."""
        return {name: hashed(["".join(values)]) for name, values in self.returned.items()}


def arranged(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return an info in which `final_obs` is one array of the lanes that ended.

    In Gymnasium's vector environments it is an array of objects, in native ones an array.
    """
    if "final_obs" not in info:
        return dict(info)
    return {**info, "final_obs": np.stack(list(info["final_obs"][info["_final_obs"]]))}


def total(observation: Any) -> Any:  # noqa: ANN401
    """Return the sum of the first 12 numbers of each observation, the agent's rows of a board."""
    return observation.reshape(len(observation), -1)[:, :12].sum(axis=1, dtype=np.float64)


def low(observation: Any) -> Any:  # noqa: ANN401
    """Return whether `total` is not positive, that is whether the agent is below the top."""
    return total(observation) <= 0


def guess(before: Any, action: Any, after: Any, terminated: Any, truncated: Any) -> Any:  # noqa: ANN401
    """Return a reward that depends on all arguments of a proxy."""
    moved = total(after) - total(before)
    return moved + 0.5 * np.asarray(action, np.float64) + 2.0 * terminated - truncated


def oversights() -> dict[str, dict[str, Any]]:
    """Return arguments of `PartialOversight`: each observer, compositions, and each option."""
    coin, step = EpisodeCoin(0.5), StepCoin(0.3)
    region = Region(low)
    observers = {
        "episode coin": coin,
        "other stream": EpisodeCoin(0.5, stream=3),
        "step coin": step,
        "schedule by episode": Schedule(lambda clock: 1.0 / (1 + clock)),
        "schedule by step": Schedule(lambda clock: 0.5 + 0.5 * (clock < 90), by="step"),
        "budget": Budget(4, every=3),
        "region at start": region,
        "region at arrival": Region(low, at="arrival"),
        "asked by the agent": Query(0.25),
        "asked by a rule": Query(0.25, rule=low),
        "noisy episodes": Noisy(coin, flip=0.3, miss=0.2),
        "noisy steps": Noisy(step, flip=0.3, miss=0.2, stream=5),
        "noisy rewards": Noisy(coin, flip=0.5, side="rewards"),
        "noisy punishments": Noisy(coin, flip=0.5, side="punishments"),
        "adversarial": Adversarial(coin, 6, every=2),
        "and": region & coin,
        "or": region | Noisy(step, flip=0.3),
        "not": ~region,
        "all of them": (Query(0.1) | ~step) & Noisy(coin, flip=0.4, miss=0.1),
    }
    return {
        **{name: {"observer": observer} for name, observer in observers.items()},
        "proxy": {"observer": coin, "proxy": guess},
        "proxy by step": {"observer": step, "proxy": guess},
        "paid by proxy": {"observer": coin, "proxy": guess, "reward": "proxy"},
        "proxy of none": {"observer": coin, "reward": "proxy"},
        "question and proxy": {"observer": Query(0.25) & coin, "proxy": guess},
        "flag": {"observer": coin, "flag": "visible"},
        "flag by step": {"observer": step, "flag": "visible", "proxy": guess},
        "noisy flag": {"observer": coin, "flag": NoisyFlag(miss=0.2, false_alarm=0.3)},
        "noisy flag by step": {"observer": region, "flag": NoisyFlag(false_alarm=0.3)},
        "info let through": {"observer": coin, "allow": ("position",)},
        "other seed": {"observed_probability": 0.4, "seed": 11},
        "refused: flag": {"observer": Query(0.25), "flag": "visible"},
    }


def wrapped(env: Any, chain: Chain, scratch: Path) -> Any:  # noqa: ANN401
    """Return an environment with wrappers, from the inside out; each ledger is a new file."""
    lanes = isinstance(env, VectorEnv)
    for name, options in chain:
        kind = getattr(vector if lanes else envs, name)
        ledger = {"path": scratch / f"{len(list(scratch.iterdir()))}.ledger"}
        env = kind(env, **options, **(ledger if name == "RecordTruth" else {}))
    return env


def in_every_form(name: str, make: Make, chain: Chain, scratch: Path) -> Iterator[tuple[str, Make]]:
    """Yield a wrapped environment alone, and in lanes with each autoreset mode."""
    yield f"{name}, single", lambda: wrapped(make(), chain, scratch)
    for mode in MODES:

        def lanes(mode: AutoresetMode = mode) -> Any:  # noqa: ANN401
            return wrapped(SyncVectorEnv([make] * LANES, autoreset_mode=mode), chain, scratch)

        yield f"{name}, {mode.name}", lanes


def partial_oversight(scratch: Path) -> Iterator[tuple[str, Make]]:
    """Yield `PartialOversight` with every observer, composition and option."""
    cart = partial(gym.make, "CartPole-v1", disable_env_checker=True)
    yield from in_every_form("CartPole", cart, [HALF], scratch)
    for name, options in oversights().items():
        yield from in_every_form(name, Walk, [("PartialOversight", options)], scratch)


def others(scratch: Path) -> Iterator[tuple[str, Make]]:
    """Yield the other wrappers around `PartialOversight` or inside it, and orders to refuse."""
    by_step = ("PartialOversight", {"observer": StepCoin(0.3), "proxy": guess})
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
        "fixed horizon": lambda: wrapped(Walk(), short, scratch),
        "refused: normalizer": lambda: NormalizeReward(Walk()),
    }
    for name, make in inside.items():
        yield from in_every_form(f"{name} inside", make, [HALF], scratch)


def grid(scratch: Path) -> Iterator[tuple[str, Make]]:
    """Yield `PartialGrid-v0` with its options, and with wrappers around it."""

    def both(name: str, chain: Chain, **options: Any) -> Iterator[tuple[str, Make]]:  # noqa: ANN401
        one = partial(gym.make, "PartialGrid-v0", disable_env_checker=True, **options)
        many = partial(gym.make_vec, "PartialGrid-v0", num_envs=LANES, **options)
        yield f"{name}, single", lambda: wrapped(one(), chain, scratch)
        yield f"{name}, vector", lambda: wrapped(many(), chain, scratch)

    rewards, flags = ("observed", "proxy", "true"), ("visible", "hidden")
    for reward, flag, chance in product(rewards, flags, (0.0, 0.1, 0.5, 1.0)):
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


def cases() -> dict[str, Case]:
    """Return a case for each group."""
    return {f"trajectories, {group}": partial(run_group, group) for group in GROUPS}


def run_group(group: str, scratch: Path) -> Digests:
    """Return the digests of all trajectories of a group."""
    return run_driver("wrappers", group, scratch)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
