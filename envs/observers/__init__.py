"""Observers: small pure objects that decide which steps of which episodes are observed."""

from envs.observers.coins import Budget, EpisodeCoin, Schedule, StepCoin, StepDecay
from envs.observers.conditional import Query, Region
from envs.observers.noise import Adversarial, GaussianNoise, Noisy, NoisyFlag
from envs.observers.observer import Decision, Flips, InformationLevel, Observer, StepContext

__all__ = [
    "Adversarial",
    "Budget",
    "Decision",
    "EpisodeCoin",
    "Flips",
    "GaussianNoise",
    "InformationLevel",
    "Noisy",
    "NoisyFlag",
    "Observer",
    "Query",
    "Region",
    "Schedule",
    "StepCoin",
    "StepContext",
    "StepDecay",
]
