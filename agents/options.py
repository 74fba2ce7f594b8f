"""The choices of routed PPO where stock PPO couples what is hidden to what is observed."""

from typing import Any, Literal, get_args

from agents.definition import Method

Timeouts = Literal["open", "hidden"]
AdvantageNormalization = Literal["all", "observed", "route", "none"]
GradientClipping = Literal["global", "target"]
Bootstrap = Literal["always", "observed", "never"]

CHOICES: dict[str, Any] = {
    "timeouts": Timeouts,
    "advantage_normalization": AdvantageNormalization,
    "gradient_clipping": GradientClipping,
    "bootstrap": Bootstrap,
}


def require_choices(**chosen: str) -> None:
    """Raise a ValueError for an option with a value that it does not have.

    >>> require_choices(bootstrap="sometimes")
    Traceback (most recent call last):
    ValueError: bootstrap must be always, observed or never, got 'sometimes'
    """
    for name, value in chosen.items():
        *allowed, last = get_args(CHOICES[name])
        if value not in (*allowed, last):
            raise ValueError(f"{name} must be {', '.join(allowed)} or {last}, got {value!r}")


def check_normalization(chosen: AdvantageNormalization, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the normalization, and put SB3's `normalize_advantage` in line with it.

    Raises:
        ValueError: if there is none of that name, or SB3's argument turns it off.
    """
    require_choices(advantage_normalization=chosen)
    if kwargs.get("normalize_advantage", True):
        kwargs["normalize_advantage"] = chosen != "none"
    elif chosen not in ("all", "none"):
        raise ValueError(
            f"normalize_advantage=False turns advantage_normalization={chosen!r} off: give one only"
        )
    return chosen


def require_rollout(batch_size: int, n_steps: int, n_envs: int) -> None:
    """Raise a ValueError for a batch that no rollout can fill."""
    rollout = n_steps * n_envs
    if batch_size > rollout:
        raise ValueError(
            f"a batch of {batch_size} is larger than a rollout of {n_steps} steps x {n_envs} "
            f"environments = {rollout}: lower batch_size or raise either"
        )


def require_gates(method: Method, policy: object, routed: bool) -> None:
    """Raise a ValueError for a method that must route through a policy without gates."""
    if not routed and not method.plain:
        raise ValueError(
            f"{type(policy).__name__} has no gates, so method {method.name!r} could not route: use "
            "MotivationPolicy, or a method whose table is all ones"
        )
