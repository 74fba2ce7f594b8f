"""The shadow: the wrappers around an environment once more, without the environment.

A tamper replaces what `step` returns. A wrapper may also reach into the environment, and pay what
it finds there (`env.unwrapped.last_reward`), which no replacement changes. So the wrappers are
built a second time around a `Replay`, which returns what the environment returned, and has nothing
else of it but constants. If the learner is paid something else than the shadow pays, the wrappers
have it from somewhere else. Reading the environment for other purposes is no fault: a step also is
right if it pays what an oversight of the certificate's own pays.
"""

from collections import deque
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents.lanes import lane_by_lane
from oversight.certificate.process import global_generators, quiet, set_global_generators

Result = tuple[str, Any, Any]
"""`reset` or `step`, what it returned, and the environment's generator afterwards."""


def parts_of(env: Any) -> Iterator[Any]:  # noqa: ANN401 (of SB3 or Gymnasium)
    """Yield an environment, its wrappers and its lanes from the outside in."""
    yield env
    for name in ("venv", "env"):
        if name in vars(env):
            yield from parts_of(vars(env)[name])
    for lane in vars(env).get("envs") or ():
        yield from parts_of(lane)


class _Source:
    """Stores what the environment returns, if a shadow is to play it once more."""

    env: Any
    results: deque[Result] | None = None

    def reset(self, **arguments: Any) -> Any:  # noqa: ANN401
        """Reset, and store the result."""
        return self._store("reset", self.env.reset(**arguments))

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Step, and store the result."""
        return self._store("step", self.env.step(action))

    def _store(self, kind: str, result: Any) -> Any:  # noqa: ANN401
        if self.results is not None:
            generator = getattr(self.env.unwrapped, "_np_random", None)
            self.results.append((kind, *deepcopy((result, generator))))
        return result


class Source(_Source, gym.Wrapper[Any, Any, Any, Any]):
    """Stores what a single environment returns."""


class VectorSource(_Source, VectorWrapper[Any, Any, Any, Any, Any]):
    """Stores what a vector environment returns."""


CONSTANTS = (bool, int, float, str, tuple, type(None))


class _Replay:
    """Returns what an environment returned, in the same order, and knows nothing else of it.

    Attributes of the environment that never changed are constants, such as sizes, and can be read.

    Args:
        source: around the environment.
    """

    def __init__(self, source: Any) -> None:  # noqa: ANN401
        self._real = source.unwrapped
        values = {name: getattr(type(self._real), name, None) for name in dir(type(self._real))}
        values |= vars(self._real)
        self._constants = {
            name: value for name, value in values.items() if isinstance(value, CONSTANTS)
        }
        source.results = self._results = deque[Result]()
        if isinstance(source, VectorEnv):  # so that the adapter to SB3 resets the same lanes
            self.resets_lanes = lane_by_lane(source) is not None
        for name in ("metadata", "render_mode", "spec"):
            setattr(self, name, getattr(source, name))
        for name in SPACES:
            if hasattr(source, name):
                setattr(self, name, deepcopy(getattr(source, name)))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return a constant of the environment."""
        real, constants = (self.__dict__.get(each) for each in ("_real", "_constants"))
        if constants and name in constants:
            value = getattr(real, name)
            if type(value) is type(constants[name]) and value == constants[name]:
                return value
        raise AttributeError(f"{name} is not what step or reset returned")

    def reset(self, **arguments: Any) -> Any:  # noqa: ANN401
        """Return what the environment's reset returned, less what an oversight inside reported.

        `PartialOversight` refuses such a report unless it finds the oversight and that it pays the
        truth, as it did around the environment.
        """
        observation, info = self._next("reset")
        return observation, {name: info[name] for name in info if name != "observed"}

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Return what the environment's step returned."""
        return self._next("step")

    def _next(self, kind: str) -> Any:  # noqa: ANN401
        if not self._results or self._results[0][0] != kind:
            raise RuntimeError(f"the wrappers call {kind} where they did not call it before")
        _, result, self._np_random = self._results.popleft()
        return result


SPACES = ("observation_space", "action_space", "single_observation_space", "single_action_space")


class Replay(_Replay, gym.Env[Any, Any]):
    """Returns what a single environment returned."""


class VectorReplay(_Replay, VectorEnv[Any, Any, Any]):
    """Returns what a vector environment returned."""

    def __init__(self, source: VectorSource) -> None:
        super().__init__(source)
        self.num_envs = source.num_envs


class Payment(NamedTuple):
    """What a learner may learn from at one step.

    Attributes:
        rewards: that were paid, [n].
        reports: that infos report as observed, [n]; NaN where nothing was observed.
    """

    rewards: NDArray[Any]
    reports: NDArray[Any]

    @classmethod
    def of(cls, result: VecEnvStepReturn) -> "Payment":
        """Return copies of the rewards in what SB3's environments return."""
        _, rewards, _, infos = result
        reports = [
            float(info.get("observed_reward", np.nan)) if info.get("observed", False) else np.nan
            for info in infos
        ]
        return cls(np.array(rewards), np.array(reports))

    def same(self, other: "Payment") -> bool:
        """Return whether both are the same, bit for bit."""
        pairs = zip(self, other, strict=True)
        return all(one.dtype == two.dtype and one.tobytes() == two.tobytes() for one, two in pairs)


class Shadowed(VecEnvWrapper):
    """The learner's environment, and its shadow, which plays each step once more.

    Args:
        venv: the environment.
        make_shadow: returns the wrappers of `venv` around replays; None for no shadow.
        own_payment: returns what an oversight of the certificate's own paid at the last step.
        on_payment: called at each step with what the environment paid, and with what is right, or
            the reason why that is not known.
    """

    def __init__(
        self,
        venv: VecEnv,
        make_shadow: Callable[[], VecEnv] | None,
        own_payment: Callable[[], Payment],
        on_payment: Callable[[Payment, Payment | str], None],
    ) -> None:
        super().__init__(venv)
        self._own_payment, self._on_payment = own_payment, on_payment
        self._shadow: VecEnv | None = None
        self._failure = ""
        self._is_compared = make_shadow is not None
        if make_shadow is not None:
            self._shadow = self._attempt(make_shadow)
        self._actions: Any = None

    def seed(self, seed: int | None = None) -> Any:  # noqa: ANN401 (of SB3)
        """Seed both."""
        if (shadow := self._shadow) is not None:
            self._attempt(lambda: shadow.seed(seed))
        return self.venv.seed(seed)

    def reset(self) -> Any:  # noqa: ANN401 (of SB3)
        """Reset both."""
        before = global_generators()
        observations = self.venv.reset()
        self.reset_infos = self.venv.reset_infos
        if (shadow := self._shadow) is not None:
            self._attempt(shadow.reset, before)
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep a copy of the actions, and send them."""
        self._actions = np.array(actions)
        self._before = global_generators()
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Step both, and compare the rewards."""
        result = self.venv.step_wait()
        if not self._is_compared:
            return result
        paid, right = Payment.of(result), None
        if (shadow := self._shadow) is not None:
            again = self._attempt(lambda: shadow.step(self._actions), self._before)
            right = None if again is None else Payment.of(again)
        if right is None or not paid.same(right):
            rewards, reports = self._own_payment()
            own = Payment(rewards.astype(paid.rewards.dtype), reports)
            right = own if paid.same(own) else right
        self._on_payment(paid, self._failure if right is None else right)
        return result

    def close(self) -> None:
        """Close both."""
        if (shadow := self._shadow) is not None:
            self._attempt(shadow.close)
        self.venv.close()

    def _attempt(self, call: Callable[[], Any], before: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """Return the result of a call of the shadow, which ends with the first error."""
        try:
            with quiet():
                if before is not None:  # what the environment drew, its shadow draws again
                    set_global_generators(before)
                return call()
        except Exception as error:  # of any wrapper
            self._failure = f"{type(error).__name__}: {error}"
            self._shadow = None
            return None
