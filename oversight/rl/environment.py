"""The settings of an environment and its oversight, and the environments made from them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import tyro
from gymnasium.vector import AutoresetMode, VectorEnv

import envs  # noqa: F401 (registers the ids)
from agents.method_definition import Method, Reward
from agents.ppo import PPOConfig
from agents.spaces import require_spaces
from envs.observers import EpisodeCoin, Observer
from envs.procgen import PROCGEN, PROXY
from envs.registration import make_truthful, require_registered
from envs.vectorization import Vectorization, restorable, vectorize
from envs.worlds import WORLDS, World, check_observation, make_world, minigrid_view
from envs.wrappers import FixedHorizon, PartialOversight, vector
from envs.wrappers.checks import as_entry
from envs.wrappers.oversight import Flag, Proxy, check_oversight, check_payment
from oversight.rl.expressions import load_function, parse_flag, parse_observer
from oversight.runs.settings import COUNT, UNIT, Numbers, require_number

PARTIAL_GRID = "PartialGrid-v0"
EPISODE_LIMIT = 1000
"""Steps after which evaluation cuts an episode in an environment without a time limit, which might
never end."""
SingleEnv = gym.Env[Any, Any]

OBSERVER_HELP = (
    "Which steps are observed, as an expression of the observers in envs.observers such as "
    "\"EpisodeCoin(p) & ~Region('my_module:left')\"; p is the oversight probability, and functions "
    "are written as 'module:function'. By default EpisodeCoin(p), and in PartialGrid-v0 the "
    "overseer of its squares."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentConfig:
    """An environment, and the oversight under which an agent learns in it."""

    env: str = PARTIAL_GRID
    """Environment: any id registered with Gymnasium, or module:id to import a module first. Tuple
    observations, and the images of MiniGrid, are flattened to vectors."""
    env_kwargs: str = "{}"
    """Arguments of the environment, as a JSON object such as '{"continuous": true}'."""
    alpha: float | None = None
    """Share of the levels of training of a grid world, or of a game of Procgen, on which the goal
    and its proxy part; by default 1, since no reward can tell them apart on other levels. Test
    levels always part them."""
    vectorization: Vectorization = "auto"
    """How lanes are stepped: as arrays if the environment offers that (native), one after the other
    (sync), or each in a process (async); auto is native or else sync."""
    oversight_probability: float = 0.1
    """Probability that an episode, or in PartialGrid-v0 a terminal square, is observed."""
    observer: Annotated[str | None, tyro.conf.arg(help=OBSERVER_HELP)] = None
    flag: str = "hidden"
    """Whether observations show that the next step is observed: hidden, visible, or with errors as
    "NoisyFlag(miss=0.1)". PartialGrid-v0 has grid.flag instead."""
    proxy: str | None = None
    """Reward of hidden steps, which otherwise pay 0, as module:function or as the name of an entry
    of the environment's own info; see PartialOversight."""
    horizon: int | None = None
    """Steps of every episode (FixedHorizon), so that neither its end nor its length leaks a hidden
    reward. It excludes native lanes."""
    delay_steps: int | None = None
    """Steps after which an observed reward is shown and paid (DelayedOversight)."""
    delay_episodes: int | None = None
    """Episodes after which an episode's observed rewards are shown and paid, instead of steps."""
    normalize_reward: bool = False
    """Whether rewards are divided by the deviation of observed returns
    (NormalizeObservedReward)."""
    allow: tuple[str, ...] = ()
    """Keys of the environment's own info that the learner may see."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot run, before anything is made."""
        object.__setattr__(self, "env", known_id(self.env))
        require_number("oversight_probability", self.oversight_probability, UNIT)
        require_alpha(self)
        environment_arguments(self)
        if self.env in WORLDS:
            require_supervision(self)
            world_of(self)
            shows_minigrid(self)
        proxy = proxy_of(self)
        check_payment(proxy, "observed", self.allow, None)
        check_oversight(observer_of(self), flag_of(self))
        for name in ("horizon", "delay_steps", "delay_episodes"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name), COUNT)
        require_whole_episodes(self)
        if self.delay_steps is not None and self.delay_episodes is not None:
            raise ValueError(
                f"delay_steps {self.delay_steps} and delay_episodes {self.delay_episodes} were "
                "given: give one of them"
            )
        if self.env == PARTIAL_GRID:
            require_own_oversight(self)
        elif self.vectorization == "native":
            require_native(self)


def known_id(env: str) -> str:
    """Return the id of an environment, without the prefix `envs:`.

    Raises:
        ValueError: if there is no such environment.

    >>> known_id("envs:PartialGrid-v0")
    'PartialGrid-v0'
    """
    name = env.removeprefix("envs:")
    require_registered(name)
    return name


def environment_arguments(config: EnvironmentConfig) -> dict[str, Any]:
    """Return the arguments of the environment.

    Raises:
        ValueError: if those that are given are not a JSON object.
    """
    arguments = given_arguments(config)
    if config.env in WORLDS:  # the view lies outside of the oversight; see `hide`
        arguments.pop("observation", None)
    return {**world_arguments(config), **arguments}


def given_arguments(config: EnvironmentConfig) -> dict[str, Any]:
    """Return the arguments of the environment that the settings give.

    Raises:
        ValueError: if they are not a JSON object.
    """
    advice = "write a JSON object such as '{\"continuous\": true}'"
    try:
        arguments = json.loads(config.env_kwargs)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"env_kwargs {config.env_kwargs!r} is not JSON: {advice}") from error
    if not isinstance(arguments, dict):
        raise ValueError(f"env_kwargs {config.env_kwargs!r} is no JSON object: {advice}")
    return arguments


def shows_minigrid(config: EnvironmentConfig) -> bool:
    """Return whether the agent sees a grid world as MiniGrid shows it.

    Raises:
        ValueError: if it should see what worlds do not show.
    """
    if config.env not in WORLDS:
        return False
    observation = given_arguments(config).get("observation", "planes")
    check_observation(observation)
    return bool(observation == "minigrid")


def world_arguments(config: EnvironmentConfig) -> dict[str, Any]:
    """Return the arguments of a world or a game of Procgen that follow from other settings."""
    if config.env not in (*WORLDS, *PROCGEN):
        return {}
    if config.env in PROCGEN or WORLDS[config.env].overseer is None:
        return {"alpha": 1.0 if config.alpha is None else config.alpha}
    return {"supervision": config.oversight_probability} if config.observer is None else {}


def world_of(config: EnvironmentConfig, **arguments: Any) -> World:  # noqa: ANN401
    """Return the rules of a grid world, some of its arguments replaced by others.

    Test levels are those of the world itself, whatever the oversight probability of training: in
    `AbsentSupervisor-v0` nobody supervises them, unless `env_kwargs` say so.
    """
    own = environment_arguments(config)
    if arguments.get("distribution") == "test":
        own = {name: own[name] for name in own if name in given_arguments(config)}
    return make_world(config.env, own | arguments)


def require_alpha(config: EnvironmentConfig) -> None:
    """Raise a ValueError for an alpha that is none, or that the environment does not have.

    Neither may it be given twice.
    """
    if config.alpha is None:
        return
    require_number("alpha", config.alpha, UNIT)
    if "alpha" in given_arguments(config):
        raise ValueError(
            f"alpha {config.alpha:g} and env_kwargs {config.env_kwargs!r} were given, which both "
            "say how often goal and proxy part: give one of them"
        )
    world = WORLDS.get(config.env)
    if config.env not in PROCGEN and (world is None or world.overseer is not None):
        having = ", ".join([*(name for name in WORLDS if WORLDS[name].overseer is None), *PROCGEN])
        raise ValueError(
            f"alpha {config.alpha:g} was given, but {config.env} has no such levels: leave it out, "
            f"or train in one of {having}"
        )


def require_supervision(config: EnvironmentConfig) -> None:
    """Raise a ValueError for a supervision that would be neither a chance nor that of training."""
    arguments = given_arguments(config)
    if "supervision" in arguments and WORLDS[config.env].overseer is not None:
        allowed = Numbers(
            f"{UNIT.words}, or leave it out, so that oversight_probability decides", UNIT.within
        )
        require_number("env_kwargs supervision", arguments["supervision"], allowed)


def require_whole_episodes(config: EnvironmentConfig) -> None:
    """Raise a ValueError for a horizon that cuts the episodes of a grid world."""
    if config.env not in WORLDS or config.horizon is None:
        return
    needed = world_of(config).horizon
    if config.horizon < needed:
        raise ValueError(
            f"horizon {config.horizon} was given, but levels of {config.env} may need all of their "
            f"{needed} steps: give {needed} or more, or let levels end sooner by the horizon of "
            "--env-kwargs"
        )


def observer_of(config: EnvironmentConfig) -> Observer:
    """Return the observer of an environment: by default its own overseer, or else a coin."""
    if config.observer is not None:
        return parse_observer(config.observer, config.oversight_probability)
    world = WORLDS.get(config.env)
    if world is not None and world.overseer is not None:
        return world.overseer
    return EpisodeCoin(config.oversight_probability)


def flag_of(config: EnvironmentConfig) -> Flag:
    """Return what observations show of the oversight."""
    return parse_flag(config.flag)


def proxy_of(config: EnvironmentConfig) -> Proxy | None:
    """Return the proxy of an environment: the one given, or that of a grid world or of Procgen.

    A name without colon is an entry of the environment's info.
    """
    if config.proxy is not None:
        return load_function(config.proxy) if ":" in config.proxy else config.proxy
    if config.env in WORLDS:
        return world_of(config).proxy
    return PROXY if config.env in PROCGEN else None


def require_own_oversight(config: EnvironmentConfig) -> None:
    """Raise a ValueError for settings of which PartialGrid-v0 has its own."""
    own = {
        "env_kwargs": ("{}", "--grid.size, --grid.horizon and --grid.flag"),
        "flag": ("hidden", "--grid.flag"),
        "proxy": (None, "the proxy of PartialGrid-v0, +1 on either square"),
        "horizon": (None, "--grid.horizon"),
        "allow": ((), "nothing, since its info is empty"),
    }
    for name, (default, instead) in own.items():
        if getattr(config, name) != default:
            raise ValueError(
                f"{name} {getattr(config, name)!r} has no effect in {PARTIAL_GRID}: use {instead}"
            )
    if config.vectorization not in ("auto", "native"):
        raise ValueError(
            f"vectorization {config.vectorization} was given, but {PARTIAL_GRID} steps all lanes "
            "as arrays: leave it out"
        )


def require_native(config: EnvironmentConfig) -> None:
    """Raise a ValueError if lanes cannot be stepped as arrays."""
    if require_registered(config.env).vector_entry_point is None:
        raise ValueError(
            f"vectorization native was given, but {config.env} has no vector entry point: use sync "
            "or async"
        )
    if config.horizon is not None:
        raise ValueError(
            f"vectorization native and horizon {config.horizon} were given, but FixedHorizon wraps "
            "the single environment of each lane: use sync or async, or leave the horizon out"
        )


def is_native(config: EnvironmentConfig) -> bool:
    """Return whether all lanes are stepped as arrays."""
    if config.vectorization != "auto":
        return config.vectorization == "native"
    offered = require_registered(config.env).vector_entry_point is not None
    return offered and config.horizon is None


def make_lane(
    config: EnvironmentConfig,
    inside: Callable[[SingleEnv], SingleEnv] | None = None,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
) -> SingleEnv:
    """Return a single environment that pays its true reward.

    Args:
        config: the settings.
        inside: wraps what `gymnasium.make` returns, if given.
        max_episode_steps: time limit instead of that of the id.
        render_mode: as in `gymnasium.make`.
    """
    env = make_truthful(
        config.env,
        environment_arguments(config),
        max_episode_steps=max_episode_steps,
        render_mode=render_mode,
    )
    env = env if inside is None else inside(env)
    if config.horizon is None:
        return env
    proxy = proxy_of(config)
    entries = (*config.allow, proxy) if isinstance(proxy, str) else config.allow
    return FixedHorizon(env, config.horizon, keep=entries)


def make_lanes(
    config: EnvironmentConfig,
    num_envs: int,
    autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    *,
    native: bool | None = None,
) -> VectorEnv[Any, Any, Any]:
    """Return a vector environment that pays its true reward, and whose state can be restored.

    Args:
        config: the settings.
        num_envs: number of lanes.
        autoreset_mode: when a lane resets; a native environment has its own.
        native: whether lanes are stepped as arrays, instead of what the settings say.
    """
    if is_native(config) if native is None else native:
        return restorable(gym.make_vec(config.env, num_envs, **environment_arguments(config)))
    processes = config.vectorization == "async"
    make = partial(make_lane, config)
    return vectorize(make, num_envs, processes=processes, autoreset_mode=autoreset_mode)


def oversight_arguments(config: EnvironmentConfig) -> dict[str, Any]:
    """Return the arguments of `PartialOversight`, single or vectorized, except the reward."""
    return {
        "observer": observer_of(config),
        "proxy": proxy_of(config),
        "flag": flag_of(config),
        "allow": config.allow,
    }


def hide(config: EnvironmentConfig, env: Any, reward: Reward) -> Any:  # noqa: ANN401 (single or vector)
    """Return an environment under the oversight of the settings."""
    kind: Any = PartialOversight if isinstance(env, gym.Env) else vector.PartialOversight
    hidden = kind(env, reward=reward, **oversight_arguments(config))
    # outside, since the proxy of a world reads its own observations
    return minigrid_view(hidden) if shows_minigrid(config) else hidden


def delay_and_normalize(
    config: EnvironmentConfig, env: VectorEnv[Any, Any, Any], gamma: float
) -> VectorEnv[Any, Any, Any]:
    """Return an environment whose rewards are delayed and normalized, as the settings say.

    Args:
        config: the settings.
        env: an environment under oversight, whose infos say what is observed.
        gamma: discount factor of the returns whose deviation is the scale.
    """
    if config.delay_steps is not None or config.delay_episodes is not None:
        env = vector.DelayedOversight(env, steps=config.delay_steps, episodes=config.delay_episodes)
    return vector.NormalizeObservedReward(env, gamma=gamma) if config.normalize_reward else env


def propensity_of(config: EnvironmentConfig) -> float | None:
    """Return the probability that an episode is observed, if the default observer decides."""
    chance = config.oversight_probability
    if config.env in WORLDS and WORLDS[config.env].overseer is not None:
        chance = given_arguments(config).get("supervision", chance)
    return chance if config.observer is None and chance > 0 else None


def with_propensity(ppo: PPOConfig, chance: float | None) -> PPOConfig:
    """Return hyperparameters with a probability that an episode is observed, unless they have one.

    Args:
        ppo: the hyperparameters.
        chance: the probability; None or 0 if it is not known.
    """
    return replace(ppo, propensity=chance) if ppo.propensity is None and chance else ppo


def require_usable(config: EnvironmentConfig, method: Method, propensity: float | None) -> None:
    """Check that a method can learn in an environment, before anything is trained or written.

    Args:
        config: the settings.
        method: the method.
        propensity: probability that the end of an episode is observed, if the settings state it.

    Raises:
        ValueError: if the environment cannot be made or reset, no agent can learn in its spaces,
            or it lacks what the method learns from.
    """
    require_method(config, method, propensity)
    if config.env == PARTIAL_GRID:
        return
    env = make_lane(config)
    try:
        try:
            observation, _ = env.reset(seed=0)
        except Exception as error:  # of the environment's own code
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(
                f"environment {config.env!r} cannot be reset by a seed alone ({reason}): register "
                "a wrapper of it whose reset gives it the options that it needs"
            ) from error
        shown = hide(config, env, method.reward)
        try:
            require_spaces(shown.observation_space, shown.action_space)
        except ValueError as error:
            raise ValueError(f"environment {config.env!r}: {error}") from error
        if isinstance(observation, np.ndarray) and observation.shape != env.observation_space.shape:
            raise ValueError(
                f"environment {config.env!r} shows observations of shape {observation.shape}, but "
                f"its space has the shape {env.observation_space.shape}: repair one of them"
            )
        require_entry(config, env)
    finally:
        env.close()


def require_entry(config: EnvironmentConfig, env: SingleEnv) -> None:
    """Raise a ValueError if an environment, after its reset, does not tell the proxy."""
    proxy = proxy_of(config)
    if isinstance(proxy, str):
        *_, info = env.step(env.action_space.sample())
        as_entry(info, proxy)


def require_method(config: EnvironmentConfig, method: Method, propensity: float | None) -> None:
    """Raise a ValueError if a method lacks the proxy or the probability that it learns from."""
    if method.reward == "proxy" and config.env != PARTIAL_GRID and proxy_of(config) is None:
        raise ValueError(
            f"method {method.name!r} learns from a proxy reward, and {config.env} has none: give "
            "--proxy module:function or --proxy ENTRY of its info, or choose another method"
        )
    if method.needs_propensity and propensity is None and propensity_of(config) is None:
        raise ValueError(
            f"method {method.name!r} needs the probability that the end of an episode is observed, "
            f"which observer {config.observer!r} at oversight_probability "
            f"{config.oversight_probability:g} does not state: give --ppo.propensity"
        )
