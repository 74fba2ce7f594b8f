"""Procgen's games as tasks: their test levels, which goal an agent pursues there, and pictures."""

import math
from dataclasses import replace
from typing import Any

from gymnasium.vector import VectorEnv

from envs.procgen import PROCGEN, LevelConfig, ProcgenEnv, ProcgenVectorEnv, make_config
from envs.procgen.games import PICTURE, level_source
from oversight.rl.config import TrainConfig
from oversight.rl.environment import environment_arguments, hide
from oversight.rl.rendering import Screen, episode_screen
from oversight.rl.world_task import ShiftedTask

LANES = 64
"""Most lanes of held-out episodes, since each lane is a game of its own in memory."""


class ProcgenTask(ShiftedTask):
    """A game of Procgen, which trains on its levels of training and is measured on test levels."""

    @property
    def limit(self) -> int:
        """The limit of the game."""
        levels = self._levels()
        return level_source(levels.game, levels.distribution_mode).limit

    @property
    def observation_size(self) -> int:
        """The numbers of a picture."""
        return math.prod(PICTURE)

    def make_game(self, lanes: int, **levels: Any) -> ProcgenVectorEnv:  # noqa: ANN401
        """Return the plain game on levels of training, or with some of its arguments replaced."""
        return ProcgenVectorEnv(self._levels(**levels), lanes)

    def make_held_out(self, episodes: int) -> VectorEnv[Any, Any, Any]:
        """Return levels of training, with at most `LANES` lanes."""
        return super().make_held_out(min(episodes, LANES))

    def flagged(self, observed: bool) -> TrainConfig | None:
        """Return the settings with all or no episodes observed; None if nothing shows that."""
        if self.config.flag == "hidden":
            return None
        return replace(self.config, observer=f"EpisodeCoin({int(observed)})", flag="visible")

    def screen(self) -> Screen:
        """Return pictures of test levels, under the oversight of the run."""
        levels = self._levels(distribution="test")
        return episode_screen(lambda: hide(self.config, ProcgenEnv(levels, "rgb_array"), "true"))

    def _levels(self, **levels: Any) -> LevelConfig:  # noqa: ANN401
        """Return the levels of training, or others with some arguments replaced."""
        return make_config(PROCGEN[self.config.env], environment_arguments(self.config) | levels)
