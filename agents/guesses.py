"""What each method puts in the place of a reward that nobody saw."""

from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from agents.appraiser import Appraiser
from agents.definition import Label, Method
from agents.labels import Guess, Labels, as_paid, labelled, nothing
from agents.options import Timeouts
from agents.reward_model import RewardModel, perceptrons

MEMBERS, PESSIMISM = 5, 1.0
"""Networks of the pessimistic model, and by how many of their deviations it lowers its guess."""
GUESSES: dict[Label, Guess | None] = {"paid": None, "observed": as_paid, "zero": nothing}


def guess_of(
    method: Method,
    space: spaces.Space[Any],
    seed: int | None,
    timeouts: Timeouts,
    place: int | None = None,
    motivation: Appraiser | None = None,
) -> Guess | None:
    """Return what guesses the rewards that nobody saw; None where those paid are learned from.

    Args:
        method: what learns.
        space: of observations.
        seed: of the agent.
        timeouts: as for `RoutedPPO`.
        place: as for `RoutedPPO`.
        motivation: the policy's own appraiser, of a method that has one.
    """
    if method.label in GUESSES:
        return GUESSES[method.label]
    shape = space.shape or ()
    inputs = int(np.prod(shape or (1,)))
    drawn = int(np.random.SeedSequence(seed).generate_state(1)[0])  # the policy has the seed itself
    if motivation is not None:
        return RewardModel([motivation], inputs, drawn, timeouts, table=method.table, instead=True)
    if method.label == "imputed-local":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(drawn)
            return RewardModel([Appraiser(shape, place)], inputs, drawn, timeouts)
    if method.label == "imputed":
        return RewardModel(perceptrons(inputs, drawn), inputs, drawn, timeouts)
    networks = perceptrons(inputs, drawn, MEMBERS)
    return RewardModel(networks, inputs, drawn, timeouts, pessimism=PESSIMISM)


def labels_of(method: Method, guess: Guess) -> Labels:
    """Return what a method learns from: what was observed and the guess, or its own judgement."""
    return guess if method.appraised else partial(labelled, guess=guess)
