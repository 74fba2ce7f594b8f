"""Setups: how an agent is trained, part by part, in an environment with tampered rewards inside."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from types import MappingProxyType
from typing import Any, Literal

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from agents import Method, RoutedPPO, VectorEnvAdapter, method
from agents.ppo import PPOConfig
from envs import GridVectorEnv, PartialOversight, RecordTruth
from envs.gridworld import OVERSEEN
from envs.gridworld_env import add_oversight
from envs.observers import Observer
from envs.wrappers import vector
from oversight.certificate.shadow import Replay, Source, VectorReplay, VectorSource
from oversight.certificate.tampering import (
    OnRewards,
    Tamper,
    Tampered,
    TamperedVector,
    keep_queries,
)
from oversight.rl.agent import make_learner
from oversight.rl.callbacks import OversightBudget
from oversight.rl.checkpoint_selection import HeldOut
from oversight.rl.config import stream_seed
from oversight.rl.environment import (
    EPISODE_LIMIT,
    EnvironmentConfig,
    hide,
    make_lane,
    make_lanes,
    oversight_arguments,
    shows_minigrid,
)

AnyVectorEnv = VectorEnv[Any, Any, Any]
SingleEnvMaker = Callable[[], gym.Env[Any, Any]]


def identity(env: Any) -> Any:  # noqa: ANN401 (single or vector)
    """Return an environment as it is."""
    return env


def make_agent(env: VecEnv, setup: "Setup") -> RoutedPPO:
    """Return an untrained agent, as the training command makes it."""
    return make_learner(env, setup.method, setup.ppo, setup.seed, "cpu")


def select_by_budget(held_out: HeldOut, ledgers: Path) -> OversightBudget:
    """Return what selects a checkpoint after every rollout, as in the training command."""
    return OversightBudget(held_out, every=1)


SMALL_PPO = PPOConfig(hidden_sizes=(16, 16), n_steps=32, batch_size=128)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How an agent is trained.

    Attributes:
        make_env: makes the environment, with `inside`, `hide` and `outside` in their places.
        method: the learning method.
        inside: wraps the environment that pays true rewards.
        hide: wraps that in the oversight under test.
        outside: wraps that for the agent.
        adapt: from the vector environment to SB3's.
        make_agent: from that to an untrained agent.
        selection: from held-out episodes and the folder of the ledgers to checkpoint selection.
        callback: from the folder of the ledgers to a further callback, if there is one.
        held_out: share of all episodes that are used for checkpoint selection only, below 1.
        ppo: hyperparameters.
        num_envs: number of lanes.
        steps: environment steps of training, rounded up to whole rollouts.
        seed: of everything.
    """

    make_env: "EnvFactory"
    method: Method = field(default_factory=lambda: method("routed"))
    inside: Callable[[Any], Any] = identity
    hide: Callable[[Any], Any] = identity
    outside: Callable[[Any], Any] = identity
    adapt: Callable[[AnyVectorEnv], VecEnv] = VectorEnvAdapter
    make_agent: Callable[[VecEnv, "Setup"], RoutedPPO] = make_agent
    selection: Callable[[HeldOut, Path], OversightBudget] = select_by_budget
    callback: Callable[[Path], BaseCallback] | None = None
    held_out: float = 0.25
    ppo: PPOConfig = SMALL_PPO
    num_envs: int = 8
    steps: int = 1024
    seed: int = 0


TAMPER_SEED = 101  # stream of the tampers' draws, distinct from those of oversight.rl.config


class EnvFactory(ABC):
    """Makes the environment of a setup, and the wrappers in it once more as a shadow."""

    @abstractmethod
    def __call__(
        self, setup: Setup, tamper: Tamper, on_rewards: OnRewards, ledgers: Path
    ) -> AnyVectorEnv:
        """Return the environment.

        Args:
            setup: the parts around the environment.
            tamper: replaces hidden rewards.
            on_rewards: called with the rewards of each step.
            ledgers: a folder for the ledgers of true rewards.
        """

    @abstractmethod
    def shadow(self, setup: Setup, sources: Sequence[Any]) -> AnyVectorEnv:
        """Return the parts around the environment once more, around replays of it.

        Args:
            setup: the parts.
            sources: store what the environment, or each lane, returns.
        """


@dataclass(frozen=True)
class VectorEnvFactory(EnvFactory):
    """Makes a vector environment with one wrapper for all lanes.

    Attributes:
        make: from a number of lanes to an environment that pays true rewards.
        oversight: arguments of `PartialOversight`, for the tamper.
        pays_at_ends: as for `TamperedVector`.
    """

    make: Callable[[int], AnyVectorEnv]
    oversight: Mapping[str, Any]
    pays_at_ends: bool = False

    def __call__(
        self, setup: Setup, tamper: Tamper, on_rewards: OnRewards, ledgers: Path
    ) -> AnyVectorEnv:
        """Return the environment."""
        seed = stream_seed(setup.seed, TAMPER_SEED)
        taken: list[Any] = []
        tampering = (tamper, on_rewards, seed, taken)
        inner = self.make(setup.num_envs)
        env = TamperedVector(inner, self.oversight, *tampering, pays_at_ends=self.pays_at_ends)
        recorded = vector.RecordTruth(VectorSource(env), ledgers / "truth.ledger")
        hidden = setup.hide(setup.inside(recorded))
        return setup.outside(keep_queries(hidden, recorded, taken))  # type: ignore[no-any-return]

    def shadow(self, setup: Setup, sources: Sequence[Any]) -> AnyVectorEnv:
        """Return the parts around the environment once more."""
        (source,) = sources
        hidden = setup.hide(setup.inside(VectorReplay(source)))
        return setup.outside(hidden)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class SingleEnvsFactory(EnvFactory):
    """Makes a vector environment with a wrapper in each lane.

    Attributes:
        make: returns an environment that pays true rewards.
        oversight: arguments of `PartialOversight`, for the tamper.
        mode: when a lane resets after the end of an episode.
    """

    make: SingleEnvMaker
    oversight: Mapping[str, Any]
    mode: AutoresetMode

    def __call__(
        self, setup: Setup, tamper: Tamper, on_rewards: OnRewards, ledgers: Path
    ) -> AnyVectorEnv:
        """Return the environment."""

        def make_lane(lane: int) -> gym.Env[Any, Any]:
            seed = stream_seed(setup.seed, TAMPER_SEED) + lane
            taken: list[Any] = []
            env = Tampered(self.make(), self.oversight, tamper, on_rewards, seed, taken)
            recorded = RecordTruth(Source(env), ledgers / f"truth-{lane}.ledger")
            return keep_queries(setup.hide(setup.inside(recorded)), recorded, taken)  # type: ignore[no-any-return]

        lanes = [partial(make_lane, lane) for lane in range(setup.num_envs)]
        return setup.outside(SyncVectorEnv(lanes, autoreset_mode=self.mode))  # type: ignore[no-any-return]

    def shadow(self, setup: Setup, sources: Sequence[Any]) -> AnyVectorEnv:
        """Return the parts around each lane once more."""
        lanes = [lambda s=source: setup.hide(setup.inside(Replay(s))) for source in sources]
        return setup.outside(SyncVectorEnv(lanes, autoreset_mode=self.mode))  # type: ignore[no-any-return]


Wrapper = Literal["vector", "single"]
DEFAULT_OVERSIGHT = MappingProxyType({"observed_probability": 0.3})


def make_setup(
    make: SingleEnvMaker,
    chosen: Method | str = "routed",
    oversight: Mapping[str, Any] = DEFAULT_OVERSIGHT,
    wrapper: Wrapper = "vector",
    mode: AutoresetMode = AutoresetMode.SAME_STEP,
) -> Setup:
    """Return the setup that certifies a method in an environment inside `PartialOversight`.

    Args:
        make: returns a new environment that pays true rewards.
        chosen: a method, or its name.
        oversight: arguments of `PartialOversight`; by default 30% of the episodes are observed.
        wrapper: whether there is one wrapper for all lanes, or one in each.
        mode: when a lane resets after the end of an episode.

    Raises:
        ValueError: if there is no such method.
    """
    learns = method(chosen) if isinstance(chosen, str) else chosen
    kind = vector.PartialOversight if wrapper == "vector" else PartialOversight
    shown = {"reward": learns.reward, **oversight}
    hide = identity if learns.reward == "true" else partial(kind, **shown)
    if wrapper == "vector":
        env: EnvFactory = VectorEnvFactory(
            lambda lanes: SyncVectorEnv([make] * lanes, autoreset_mode=mode), oversight
        )
    else:
        env = SingleEnvsFactory(make, oversight, mode)
    return Setup(make_env=env, method=learns, hide=hide)


def make_environment_setup(
    chosen: Method | str,
    settings: EnvironmentConfig,
    wrapper: Wrapper = "vector",
    mode: AutoresetMode = AutoresetMode.SAME_STEP,
) -> Setup:
    """Return the setup that certifies a method in an environment, as the settings describe it.

    Args:
        chosen: a method, or its name.
        settings: the environment and its oversight; what is delayed or normalized is not part of
            the setup.
        wrapper: whether there is one wrapper for all lanes, or one in each.
        mode: when a lane resets after the end of an episode.

    Raises:
        ValueError: if there is no such method.
    """
    if shows_minigrid(settings):
        raise ValueError(
            "a certificate needs observation 'planes': MiniGrid's view, which lies outside of the "
            "oversight, is a function of these and shows no more: leave observation out"
        )
    oversight = oversight_arguments(settings)
    if wrapper == "single":
        return make_setup(partial(make_lane, settings), chosen, oversight, wrapper, mode)
    learns = method(chosen) if isinstance(chosen, str) else chosen
    native = settings.vectorization == "native"

    def make(lanes: int) -> AnyVectorEnv:
        return make_lanes(settings, lanes, mode, native=native)

    hides = identity if learns.reward == "true" else partial(hide, settings, reward=learns.reward)
    return Setup(make_env=VectorEnvFactory(make, oversight), method=learns, hide=hides)


def make_partial_grid_setup(
    chosen: Method | str, oversight_probability: float, observer: Observer = OVERSEEN
) -> Setup:
    """Return the setup that certifies a method in `PartialGrid-v0`, as it is used for training.

    Args:
        chosen: a method, or its name.
        oversight_probability: chance that a terminal square is overseen.
        observer: decides which steps are observed.

    Raises:
        ValueError: if there is no such method.
    """
    learns = method(chosen) if isinstance(chosen, str) else chosen
    game = partial(GridVectorEnv, oversight_probability=oversight_probability)
    make_env: EnvFactory = VectorEnvFactory(game, {"observer": observer}, pays_at_ends=True)
    hides = partial(add_oversight, reward=learns.reward, observer=observer)
    return Setup(make_env=make_env, method=learns, hide=hides)


POOL = 1  # episode: in a short run, a larger pool would select nothing


def make_held_out(setup: Setup, tamper: Tamper, ledgers: Path) -> HeldOut:
    """Return the held-out episodes by which the training command selects a checkpoint.

    They are played in the same environment as training, with the same tamper inside.

    Args:
        setup: how the agent is trained.
        tamper: replaces hidden rewards.
        ledgers: a folder; each environment gets a new one inside.
    """

    def make_env(lanes: int) -> VecEnv:
        folder = Path(mkdtemp(dir=ledgers))
        env = setup.make_env(replace(setup, num_envs=lanes), tamper, lambda *_: None, folder)
        return setup.adapt(env)

    return HeldOut(make_env, setup.held_out, setup.seed, EPISODE_LIMIT, POOL)
