"""The table of environment ids, and their registration with Gymnasium."""

import gymnasium as gym

# id -> (single environment, native vector environment)
IDS = {
    "PartialGrid-v0": ("envs.grid.single:GridEnv", "envs.grid.vector:GridVectorEnv"),
}


def register() -> None:
    """Register every id that Gymnasium does not know yet."""
    for name, (entry_point, vector_entry_point) in IDS.items():
        if name not in gym.registry:
            gym.register(name, entry_point, vector_entry_point=vector_entry_point)
