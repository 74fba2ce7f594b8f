"""Films: the same levels played by several policies side by side, as an animated GIF."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image
from stable_baselines3.common.policies import BasePolicy

import envs
from envs.grid.rules import Rules
from oversight.pictures.panels import Picture, enlarge, panels

_FRAME, _PAUSE = 250, 900  # milliseconds


def film(
    policies: Mapping[str, BasePolicy], rules: Rules, episodes: int, seed: int, path: Path
) -> None:
    """Write episodes of every policy on the same levels, each panel waiting for the slowest.

    Raises:
        ValueError: if the path cannot be written.
    """
    frames: list[Image.Image] = []
    durations: list[int] = []
    for episode in range(episodes):
        plays = [list(_play(policy, rules, seed + episode)) for policy in policies.values()]
        last = [play[-1] for play in plays]
        for pictures in zip_longest(*plays):
            shown = [
                now if now is not None else end for now, end in zip(pictures, last, strict=True)
            ]
            frames.append(Image.fromarray(panels(dict(zip(policies, shown, strict=True)))))
            durations.append(_FRAME)
        durations[-1] = _PAUSE
    try:
        frames[0].save(
            path, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error


def _play(policy: BasePolicy, rules: Rules, seed: int) -> Iterator[Picture]:
    """Yield a frame before the first step and after every step of one episode."""
    env = envs.GridEnv(
        size=rules.size,
        horizon=rules.horizon,
        oversight_probability=rules.oversight_probability,
        flag=rules.flag,
        render_mode="rgb_array",
    )
    observation, _ = env.reset(seed=seed)
    yield _frame(env)
    ended = False
    while not ended:
        action, _ = policy.predict(observation, deterministic=False)
        observation, _, terminated, truncated, _ = env.step(int(action))
        ended = terminated or truncated
        yield _frame(env)


def _frame(env: envs.GridEnv) -> Picture:
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    return enlarge(picture, 2)
