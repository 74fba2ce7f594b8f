"""Settings out of range are refused by name, and objects are imported by name."""

from dataclasses import dataclass

import pytest

from oversight.runs.settings import load_object, require_distinct, require_numbers


@dataclass
class Settings:
    """Settings of each kind that is checked."""

    steps: int = 1
    limit: int | None = None
    rates: tuple[float, ...] = (0.1, 0.2)


def test_settings_are_accepted_when_they_lie_in_their_range() -> None:
    require_numbers(Settings(), "steps", "limit", "rates")
    require_numbers(Settings(steps=0, limit=0), "steps", "limit", "rates", least=0)
    require_distinct(Settings(), "rates")


@pytest.mark.parametrize(
    ("settings", "least", "message"),
    [
        (Settings(steps=0), None, "steps 0 was given: give a number above 0"),
        (Settings(steps=1), 2, "steps 1 was given: give 2 or more"),
        (Settings(limit=-1), 0, "limit -1 was given: give 0 or more"),
        (Settings(rates=(0.1, 0.0)), None, r"rates \(0.1, 0.0\) was given"),
        (Settings(rates=(float("nan"),)), 0, "rates .* was given: give 0 or more"),
        (Settings(rates=(float("inf"),)), None, "rates .* was given: give a number above 0"),
    ],
)
def test_numbers_are_refused_when_they_are_too_small_or_not_finite(
    settings: Settings, least: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        require_numbers(settings, "steps", "limit", "rates", least=least)


@pytest.mark.parametrize("rates", [(), (0.1, 0.1)])
def test_lists_are_refused_when_empty_or_repeated(rates: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="give one or more, each once"):
        require_distinct(Settings(rates=rates), "rates")


@pytest.mark.parametrize("name", ["left", ":left", "module:", ""])
def test_name_without_a_module_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="write module:name"):
        load_object(name)
