"""Who watches: small pure objects that say which steps of which episodes are observed."""

from envs.observers.budget import Budget
from envs.observers.coins import EpisodeCoin, Schedule, StepCoin
from envs.observers.noisy import Noisy
from envs.observers.observer import Decision, Moment, Observer, Scope
from envs.observers.region import Region

__all__ = [
    "Budget",
    "Decision",
    "EpisodeCoin",
    "Moment",
    "Noisy",
    "Observer",
    "Region",
    "Schedule",
    "Scope",
    "StepCoin",
]
