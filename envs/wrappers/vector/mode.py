"""The autoreset mode of a vector environment, without which a step has no episode."""

from typing import Any

from gymnasium.vector import AutoresetMode, VectorEnv


def check_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Return the autoreset mode of a vector environment.

    Raises:
        ValueError: If it does not say one.
    """
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"metadata['autoreset_mode'] of the vector environment must be one of "
            f"{[str(each) for each in AutoresetMode]}, got {mode!r}: set it there"
        )
    return mode
