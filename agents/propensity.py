"""How likely the end of an episode is to be observed, for the methods that are told so."""

from agents.definition import Method


def check_propensity(method: Method, propensity: float | None) -> float | None:
    """Return the chance that the end of an episode is observed, if the method can go by it.

    Raises:
        ValueError: if it needs one and has none, or it is no chance above 0.
    """
    if propensity is not None and not 0 < propensity <= 1:  # true for NaN as well
        raise ValueError(f"propensity must be above 0 and at most 1, got {propensity}")
    if propensity is None and method.needs_propensity:
        raise ValueError(
            f"method {method.name!r} must be told the chance that the end of an episode is "
            "observed: give propensity, which the design of the oversight states"
        )
    return propensity
