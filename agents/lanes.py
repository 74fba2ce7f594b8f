"""The lanes of a Gymnasium vector environment one by one: their attributes, methods and resets."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import NormalizeObservation
from numpy.typing import NDArray
from stable_baselines3.common.env_util import is_wrapped

AnyVectorEnv = VectorEnv[Any, Any, Any]

# Space of a lane as the learner sees it -> the name under which a vector environment has it.
SPACES = {
    "observation_space": "single_observation_space",
    "action_space": "single_action_space",
}
NOT_CALLED = ("reset", "step", "close")  # a worker of AsyncVectorEnv ends when asked for them


class LaneError(ValueError, AttributeError):
    """A lane has no such attribute, or cannot be addressed alone.

    It is an AttributeError since SB3's `has_attr` and sb3-contrib ask for attributes and catch it.
    """


class Lanes:
    """Attributes and methods of the lanes of a vector environment, as far as it lets them be read.

    As among single environments the outermost wrapper decides: an attribute of a vector wrapper
    hides that of the lanes.

    - `SyncVectorEnv` has an environment for each lane, asked as `DummyVecEnv` asks its own.
    - `AsyncVectorEnv` passes a request to all lanes at once, and so does any other vector
      environment with `call` or `set_attr`.
    - Native vector environments have no lanes to ask, only attributes that all lanes share.

    Args:
        venv: the vector environment, perhaps in vector wrappers.
    """

    def __init__(self, venv: AnyVectorEnv) -> None:
        self.venv, self.base = venv, venv.unwrapped
        self.envs: Sequence[gym.Env[Any, Any]] | None = getattr(self.base, "envs", None)
        self.name = type(self.base).__name__

    def environments(self) -> Sequence[gym.Env[Any, Any]]:
        """Return the environment of each lane.

        Raises:
            LaneError: if there are none in this process.
        """
        if self.envs is None:
            raise LaneError(
                f"{self.name} has no environment for each lane in this process: use get_attr and "
                "env_method, or build it from single environments with SyncVectorEnv"
            )
        return self.envs

    def has(self, name: str) -> bool:
        """Return whether every lane has an attribute, or they share one of that name."""
        every = list(range(self.base.num_envs))
        return name in SPACES or self._inside(name, every) or hasattr(self.venv, name)

    def get(self, name: str, lanes: list[int]) -> list[Any]:
        """Return an attribute of each of some lanes, or the shared one once for each.

        Raises:
            LaneError: if there is none.
        """
        if name in SPACES:
            return [getattr(self.venv, SPACES[name]) for _ in lanes]
        if (wrapper := self._wrapper_with(name)) is not None:
            return [getattr(wrapper, name) for _ in lanes]
        if self._inside(name, lanes):
            if self.envs is not None:
                return [self.envs[lane].get_wrapper_attr(name) for lane in lanes]
            # not `get_attr`, which calls what can be called
            values = self.base.call("get_wrapper_attr", name)  # type: ignore[attr-defined]
            return [values[lane] for lane in lanes]
        if not hasattr(self.venv, name):
            raise LaneError(
                f"the lanes of {self.name} have no attribute {name!r}: ask for one that the "
                "environment or a wrapper has"
            )
        return [getattr(self.venv, name) for _ in lanes]

    def set(self, name: str, value: Any, lanes: list[int]) -> None:  # noqa: ANN401
        """Set an attribute of some lanes.

        Raises:
            LaneError: if they cannot be addressed.
        """
        if self.envs is not None:
            for lane in lanes:
                setattr(self.envs[lane], name, value)
            return
        if not hasattr(self.base, "set_attr"):
            raise LaneError(
                f"cannot set {name!r} in lanes of {self.name}, which steps all lanes as one array "
                "and has no set_attr: set it in the vector environment itself, or build that from "
                "single environments with SyncVectorEnv"
            )
        self._require_all(f"sets {name!r}", lanes)
        self.base.set_attr(name, [value] * self.base.num_envs)

    def call(self, name: str, lanes: list[int], *args: Any, **kwargs: Any) -> list[Any]:  # noqa: ANN401
        """Call a method of some lanes, and return what each returns.

        Raises:
            LaneError: if they cannot be addressed, or have no such method.
        """
        if self.envs is not None:
            if not self._inside(name, lanes):
                raise LaneError(f"the lanes of {self.name} have no method {name!r}: call another")
            return [self.envs[lane].get_wrapper_attr(name)(*args, **kwargs) for lane in lanes]
        if not hasattr(self.base, "call"):
            raise LaneError(
                f"cannot call {name!r} in lanes of {self.name}, which steps all lanes as one array "
                "and has no call: call it on the vector environment itself, or build that from "
                "single environments with SyncVectorEnv"
            )
        if name in NOT_CALLED:
            raise LaneError(
                f"cannot call {name!r} in lanes of {self.name}: use {name} of the vector "
                "environment, which does it in all lanes"
            )
        self._require_all(f"calls {name!r}", lanes)
        if isinstance(self.base, AsyncVectorEnv) and not self._inside(name, lanes):
            raise LaneError(f"the lanes of {self.name} have no method {name!r}: call another")
        return list(self.base.call(name, *args, **kwargs))

    def wrapped(self, wrapper: type[Any], lanes: list[int]) -> list[bool]:
        """Return whether each of some lanes has a wrapper; False where that cannot be seen."""
        if self.envs is None:
            return [False for _ in lanes]
        return [is_wrapped(self.envs[lane], wrapper) for lane in lanes]

    def _wrapper_with(self, name: str) -> AnyVectorEnv | None:
        """Return the outermost vector wrapper that has an attribute of its own, if any."""
        layer = self.venv
        while isinstance(layer, VectorWrapper):
            classes = type(layer).__mro__
            own = (layer, *classes[: classes.index(VectorWrapper)])
            if name != "env" and any(name in vars(each) for each in own):
                return layer
            layer = layer.env
        return None

    def _inside(self, name: str, lanes: list[int]) -> bool:
        """Return whether each of some lanes has an attribute of its own."""
        if self.envs is not None:
            return all(self.envs[lane].has_wrapper_attr(name) for lane in lanes)
        # a worker that is asked for an attribute that it lacks ends
        return isinstance(self.base, AsyncVectorEnv) and all(
            self.base.call("has_wrapper_attr", name)
        )

    def _require_all(self, what: str, lanes: list[int]) -> None:
        if sorted(lanes) != list(range(self.base.num_envs)):
            raise LaneError(
                f"{self.name} {what} in all {self.base.num_envs} lanes at once, got indices "
                f"{lanes}: leave out indices, or take SyncVectorEnv or DummyVecEnv"
            )


def lane_by_lane(venv: AnyVectorEnv) -> AnyVectorEnv | None:
    """Return a next-step vector environment whose lanes can be reset alone, or None if none can.

    `reset(options={"reset_mask": mask})` then resets the lanes of the mask, also those that the
    next step would have reset. Gymnasium requires that only where autoreset is disabled:
    `SyncVectorEnv` and `AsyncVectorEnv` do it in any mode (without shared memory the latter would
    reset a second time), and `CartPoleLanes` adds it to Gymnasium's own native environment. Any
    other says that it does by an attribute `resets_lanes` that is true.
    """
    layer, innermost = venv, None
    while isinstance(layer, VectorWrapper):
        if isinstance(layer, NormalizeObservation):  # refuses to reset some lanes only
            return None
        innermost, layer = layer, layer.env
    if isinstance(layer, CartPoleVectorEnv):
        if innermost is None:
            return CartPoleLanes(layer)
        if not isinstance(innermost, CartPoleLanes):
            innermost.env = CartPoleLanes(layer)
        return venv
    able = isinstance(layer, SyncVectorEnv) or bool(getattr(layer, "resets_lanes", False))
    able |= isinstance(layer, AsyncVectorEnv) and bool(layer.shared_memory)
    return venv if able else None


class CartPoleLanes(VectorWrapper[Any, Any, Any, Any, Any]):
    """Gymnasium's native CartPole, some lanes of which can be reset alone."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Reset every lane, or those of `options["reset_mask"]` as the next step would have."""
        if not options or "reset_mask" not in options:
            return self.env.reset(seed=seed, options=options)
        game: Any = self.env
        mask = options["reset_mask"]
        game.state[:, mask] = game.np_random.uniform(
            low=game.low, high=game.high, size=(4, int(mask.sum()))
        )
        game.steps[mask] = 0
        game.prev_done[mask] = False
        return game.state.T.astype(np.float32), {}
