"""A trial: one training run of which everything is noted."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from stable_baselines3.common.logger import Logger

from agents import RoutedPPO
from oversight.callbacks import RouteCurves
from oversight.certificate.beside import held_out
from oversight.certificate.recorder import Recorder, Scalars
from oversight.certificate.setup import Setup
from oversight.certificate.tamper import Numbers, Tamper
from oversight.certificate.tampered import Mask
from oversight.certificate.trace import Trace
from oversight.selection import HeldOut


class Trial:
    """What one run had, and how much of it was hidden.

    Attributes:
        trace: the channels; `truth` holds what was paid where, which the learner must not have.
        steps: environment steps.
        observed, hidden: how many of them had an observed, and a hidden reward.
        error: what ended the run early, or None.
    """

    def __init__(self) -> None:
        self.trace = Trace()
        self.steps = self.observed = self.hidden = 0
        self.error: Exception | None = None

    def note_truth(self, observed: Mask, hidden: Mask, rewards: Numbers) -> None:
        """Note the true rewards of one step, [n]."""
        self.steps += observed.size
        self.observed += int(np.count_nonzero(observed))
        self.hidden += int(np.count_nonzero(hidden))
        self.trace.note("truth", self.steps, "rewards", rewards)


def train(setup: Setup, tamper: Tamper) -> Trial:
    """Train as the setup says with tampered hidden rewards, and return all that the run had.

    Errors and warnings do not get out: that they came and what they said are channels like others.
    PyTorch's generator is left as it was.
    """
    trial = Trial()
    with (
        TemporaryDirectory() as folder,
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(record=True, action="always") as warned,
    ):
        try:
            env = setup.world(setup, tamper, trial.note_truth, Path(folder))
        except Exception as error:
            trial.error = error
        else:
            try:
                agent = setup.learner(setup.adapt(env), setup)
                _learn(setup, agent, held_out(setup, tamper, Path(folder)), Path(folder), trial)
            except Exception as error:
                trial.error = error
            finally:
                env.close()
    texts = [f"{each.category.__name__}: {each.message}" for each in warned]
    trial.trace.note("warnings", trial.steps, texts[0] if texts else "none", texts)
    said = "" if trial.error is None else f"{type(trial.error).__name__}: {trial.error}"
    trial.trace.note("errors", trial.steps, said or "none", said)
    return trial


def _learn(setup: Setup, agent: RoutedPPO, chooser: HeldOut, ledgers: Path, trial: Trial) -> None:
    agent.set_logger(Logger(None, [Scalars(trial.trace)]))
    callbacks = [setup.choice(chooser, ledgers), *setup.callbacks(ledgers), RouteCurves()]
    agent.learn(setup.steps, [*callbacks, Recorder(trial.trace, chooser)])
