"""Checkpoints: all that training depends on, as bytes that execute nothing when read."""

import io
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecTransposeImage

from agents.policy import MotivationPolicy
from agents.ppo import RoutedPPO
from agents.rollout_buffer import set_generator_state
from agents.vec_env import VectorEnvAdapter

State = dict[str, Any]

MOST_CHARACTERS = 200
"""Of PyTorch's complaint, which names every weight that is missing."""


def training_state(agent: RoutedPPO) -> State:
    """Return all that the agent's future depends on, at the start of a rollout.

    Holds tensors and plain numbers only: parameters, optimizer, random generators, environment.
    """
    env = _adapter(agent)
    assert agent._last_episode_starts is not None
    return learner_state(agent) | {
        "environment": _tensors(env.get_state()),
        "last_observation": _tensors(agent._last_obs),
        "last_episode_starts": torch.from_numpy(np.asarray(agent._last_episode_starts)),
        "num_timesteps": agent.num_timesteps,
        "episodes": list(agent.ep_info_buffer or ()),
    }


def learner_state(agent: RoutedPPO) -> State:
    """Return the part of the state that no environment holds: what updates read and write."""
    return {
        "policy": agent.policy.state_dict(),
        "optimizer": agent.policy.optimizer.state_dict(),
        "torch_generator": torch.get_rng_state(),
        "cuda_generators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "minibatch_order": _tensors(agent.rollout_buffer.order.get_state(legacy=False)),
        "outcomes": _tensors(agent.rollout_buffer.outcomes.get_state()),
        "num_updates": agent._n_updates,
        "reward_source": _tensors(agent.reward_source.get_state()),
    }


def restore(agent: RoutedPPO, state: State) -> None:
    """Put an agent, built with the same settings, where `training_state` was called.

    Raises:
        ValueError: if the state is not one of such an agent.
    """
    env = _adapter(agent)
    try:
        load_policy(agent.policy, state["policy"])
        agent.policy.optimizer.load_state_dict(state["optimizer"])
        set_generator_state(agent.rollout_buffer.order, state["minibatch_order"])
        agent.rollout_buffer.outcomes.set_state(_arrays(state["outcomes"]))
        agent.reward_source.set_state(state["reward_source"])
        env.reset()
        env.set_state(_arrays(state["environment"]))
        agent._last_obs = _arrays(state["last_observation"])
        agent._last_episode_starts = state["last_episode_starts"].numpy()
        agent.num_timesteps = int(state["num_timesteps"])
        agent._n_updates = int(state["num_updates"])
        agent._setup_learn(0, None, reset_num_timesteps=False)
        agent.ep_info_buffer.extend(state["episodes"])  # type: ignore[union-attr]
        torch.set_rng_state(state["torch_generator"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_generators"])
    except Exception as error:
        raise ValueError(f"the checkpoint does not fit this run: {_complaint(error)}") from error


def state_bytes(state: State) -> bytes:
    """Return a state as the bytes of a file that `read_state` reads."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def read_state(path: Path) -> State:
    """Read a state; nothing in the file is executed.

    Raises:
        ValueError: if it is truncated or something else.
    """
    try:
        _check_sums(path)  # torch.load does not
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can raise nearly anything
        raise ValueError(f"{path} is not a whole checkpoint: {_first_line(error)}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} is not a checkpoint: it holds {type(state).__name__}")
    return state


def model_bytes(agent: BaseAlgorithm) -> bytes:
    """Return the bytes of SB3's `model.zip`."""
    buffer = io.BytesIO()
    agent.save(buffer)
    return buffer.getvalue()


def read_model_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the policy's weights from SB3's `model.zip`, and leave its pickled parts alone.

    Raises:
        ValueError: if the file is truncated, or not SB3's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read("policy.pth"))
        weights: dict[str, torch.Tensor] = torch.load(
            content, map_location="cpu", weights_only=True
        )
    except Exception as error:  # damaged bytes can raise nearly anything
        raise ValueError(
            f"{path} is not a whole model saved by this project: {_first_line(error)}"
        ) from error
    return weights


def load_policy(policy: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load weights into a policy of the same shape.

    Raises:
        ValueError: if names or shapes differ.
    """
    try:
        policy.load_state_dict(weights)
    except Exception as error:
        raise ValueError(
            f"the weights are of another network than {_describe(policy)}: {_complaint(error)}; "
            "they were saved by another version, or with other settings"
        ) from error


def _adapter(agent: RoutedPPO) -> VectorEnvAdapter:
    env = agent.env
    while isinstance(env, VecTransposeImage):  # which SB3 puts around images, and has no state
        env = env.venv
    inside = env.venv if isinstance(env, VectorEnvAdapter) else env
    if not isinstance(env, VectorEnvAdapter) or not hasattr(inside, "get_state"):
        raise ValueError(
            f"{type(inside).__name__} cannot be checkpointed: train on a native vector "
            "environment that offers get_state and set_state"
        )
    return env


def _tensors(state: Any) -> Any:  # noqa: ANN401
    """Replace arrays in nested dictionaries by tensors, which load without executing anything.

    The order of memory is kept, on which the last bits of sums depend.
    """
    if isinstance(state, dict):
        return {name: _tensors(value) for name, value in state.items()}
    return _tensor(state) if isinstance(state, np.ndarray) else state


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return a copy of an array with the strides of the array, also along axes of length 1.

    NumPy gives such axes another stride in a copy, and PyTorch picks a convolution by it.
    """
    copied = array.copy(order="K")
    strides = [
        own if size == 1 else new
        for size, own, new in zip(array.shape, array.strides, copied.strides, strict=True)
    ]
    if min(strides, default=0) < 0:  # PyTorch has no negative strides
        return torch.from_numpy(copied)
    counts = [stride // array.itemsize for stride in strides]
    return torch.from_numpy(copied).as_strided(array.shape, counts)


def _arrays(state: Any) -> Any:  # noqa: ANN401
    if isinstance(state, dict):
        return {name: _arrays(value) for name, value in state.items()}
    return state.numpy() if isinstance(state, torch.Tensor) else state


def _check_sums(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} is damaged")


def _describe(policy: torch.nn.Module) -> str:
    if isinstance(policy, MotivationPolicy):
        return f"modules {policy.module_names} of widths {policy.hidden_sizes}"
    return type(policy).__name__


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _complaint(error: BaseException) -> str:
    """Return the first line of an error; of PyTorch's, the first complaint after its headline."""
    lines = str(error).strip().split("\n")
    if len(lines) == 1 or not lines[0].startswith("Error(s) in loading"):
        return _first_line(error)
    return textwrap.shorten(lines[1], MOST_CHARACTERS, placeholder=" ...")
