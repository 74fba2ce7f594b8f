"""Who watches: small pure objects that say which steps of which episodes are observed."""

from envs.observers.adversarial import Adversarial
from envs.observers.budget import Budget
from envs.observers.coins import EpisodeCoin, Schedule, StepCoin
from envs.observers.noisy import Noisy
from envs.observers.observer import Decision, Flips, Moment, Observer, Scope
from envs.observers.query import Query
from envs.observers.region import Region

__all__ = [
    "Adversarial",
    "Budget",
    "Decision",
    "EpisodeCoin",
    "Flips",
    "Moment",
    "Noisy",
    "Observer",
    "Query",
    "Region",
    "Schedule",
    "Scope",
    "StepCoin",
]
