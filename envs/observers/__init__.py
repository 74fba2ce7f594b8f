"""Who watches: small pure objects that say which steps of which episodes are observed."""

from envs.observers.coins import Budget, EpisodeCoin, Schedule, StepCoin
from envs.observers.conditional import Query, Region
from envs.observers.noise import Adversarial, Noisy
from envs.observers.observer import Decision, Flips, InformationLevel, Observer, StepContext

__all__ = [
    "Adversarial",
    "Budget",
    "Decision",
    "EpisodeCoin",
    "Flips",
    "InformationLevel",
    "Noisy",
    "Observer",
    "Query",
    "Region",
    "Schedule",
    "StepCoin",
    "StepContext",
]
