"""Observers, flags and functions written as text."""

import numpy as np
import pytest

from envs.observers import (
    Adversarial,
    Budget,
    EpisodeCoin,
    GaussianNoise,
    Noisy,
    NoisyFlag,
    Observer,
    Query,
    Region,
    Schedule,
    StepCoin,
    StepDecay,
)
from oversight.rl.expressions import OBSERVERS, parse_flag, parse_observer


def left(observation: np.ndarray) -> np.ndarray:
    """Return where the cart is on the left."""
    return observation[:, 0] < 0


def warm_up(clock: np.ndarray) -> np.ndarray:
    """Return a probability of 1 during the first ten episodes."""
    return np.asarray(clock < 10, dtype=float)


HERE = __name__


@pytest.mark.parametrize(
    ("text", "observer"),
    [
        ("EpisodeCoin(p)", EpisodeCoin(0.25)),
        ("StepCoin(probability=0.5, stream=3)", StepCoin(0.5, stream=3)),
        ("Budget(10, every=100)", Budget(10, every=100)),
        ("Query(0.2)", Query(0.2)),
        (f"Query(rule='{HERE}:left')", Query(rule=left)),
        (f"Region('{HERE}:left', at='arrival')", Region(left, at="arrival")),
        (f"Schedule('{HERE}:warm_up', by='step')", Schedule(warm_up, by="step")),
        ("Noisy(EpisodeCoin(p), flip=0.1)", Noisy(EpisodeCoin(0.25), flip=0.1)),
        ("GaussianNoise(StepCoin(p), 3)", GaussianNoise(StepCoin(0.25), 3)),
        ("StepDecay(0.999)", StepDecay(0.999)),
        ("Adversarial(EpisodeCoin(p), 3)", Adversarial(EpisodeCoin(0.25), 3)),
        (
            f" EpisodeCoin(p) & ~Region('{HERE}:left') | StepCoin(0.01)\n",
            EpisodeCoin(0.25) & ~Region(left) | StepCoin(0.01),
        ),
    ],
)
def test_expression_gives_the_observer_that_python_would(text: str, observer: Observer) -> None:
    assert parse_observer(text, 0.25) == observer


def test_every_observer_can_be_named() -> None:
    public = set(Observer.__subclasses__()) - {type(~EpisodeCoin(0)), type(Query() & Query())}
    assert {kind.__name__ for kind in public if kind.__module__.startswith("envs.")} == set(
        OBSERVERS
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read"),
        ("EpisodeCoin(", "cannot be read"),
        ("0.1", "write an expression of"),
        ("p", "write an expression of"),
        ("Coin(0.1)", "'Coin\\(0.1\\)' is not understood: use Adversarial"),
        ("EpisodeCoin(2)", "from 0 to 1, got 2"),
        ("EpisodeCoin(-0.5)", "from 0 to 1, got -0.5"),
        ("EpisodeCoin()", "takes \\(probability, stream\\)"),
        ("EpisodeCoin(0.1, chance=3)", "takes \\(probability, stream\\)"),
        ("EpisodeCoin(**p)", "without \\*\\*"),
        ("EpisodeCoin(0.1) & 0.5", "write EpisodeCoin\\(0.5\\)"),
        ("~0.5", "combine observers"),
        ("EpisodeCoin(0.1) and StepCoin(0.1)", "is not understood"),
        ("EpisodeCoin.__class__", "is not understood"),
        ("__import__('os').system('true')", "is not understood"),
        ("[EpisodeCoin(0.1)][0]", "is not understood"),
        ("Region('left')", "must be a function"),
        ("Region('no_such_module:left')", "cannot be imported \\(ModuleNotFoundError"),
        (f"Region('{HERE}:right')", "cannot be imported \\(AttributeError"),
        (f"Region('{HERE}:HERE')", "is not a function"),
        ("~" * 5000 + "EpisodeCoin(0.1)", "cannot be read"),
    ],
)
def test_other_text_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_observer(text, 0.25)


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("hidden", "hidden"),
        ("visible", "visible"),
        ("NoisyFlag(0.1, false_alarm=0.2)", NoisyFlag(0.1, 0.2)),
    ],
)
def test_flag_is_a_word_or_a_noisy_flag(text: str, flag: object) -> None:
    assert parse_flag(text) == flag


@pytest.mark.parametrize("text", ["seen", "NoisyFlag(2)", "EpisodeCoin(0.1)", "NoisyFlag"])
def test_other_flags_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="flag"):
        parse_flag(text)
