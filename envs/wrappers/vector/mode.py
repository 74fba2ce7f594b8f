"""When the lanes of a vector environment reset, which it must say."""

from typing import Any

from gymnasium.vector import AutoresetMode, VectorEnv


def autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Return the autoreset mode that an environment states in its metadata.

    Raises:
        ValueError: If it states none.
    """
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"env.metadata['autoreset_mode'] must be an AutoresetMode, got {mode!r}: set it to one "
            f"of {[str(mode) for mode in AutoresetMode]}, or a step cannot be told to its episode"
        )
    return mode
