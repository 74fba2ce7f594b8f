"""A reward model: what observed rewards say of those that nobody saw."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.definition import Label
from agents.labels import Guess, Rewards, Step, as_paid, nothing
from agents.options import Timeouts

CAPACITY, WIDTH, BATCH, STEPS, RATE = 8192, 64, 256, 64, 1e-3
"""Observed steps remembered, width of a network, and how it is fitted to each rollout."""
MEMBERS, PESSIMISM = 5, 1.0
"""Networks of the pessimistic model, and by how many of their deviations it lowers its guess."""
GUESSES: dict[Label, Guess | None] = {"paid": None, "observed": as_paid, "zero": nothing}


class RewardModel:
    """Small networks, fitted to observed rewards, that guess the others.

    They read where a step led to and whether the episode ended there, and nothing else. The guess
    is the mean over the networks less `pessimism` times their deviation; with no reward observed
    so far it is 0. What was paid stays where nothing was hidden: with `timeouts="open"` rewards
    hide at terminals alone, with `"hidden"` at every step that was not observed.

    It draws from a generator of its own, and leaves PyTorch's alone. Checkpoints hold it; an agent
    that SB3 saved and loaded begins with a new one.

    Args:
        inputs: numbers in an observation.
        seed: of the networks' weights and of their minibatches.
        timeouts: as for `RoutedPPO`.
        members: number of networks.
        pessimism: deviations by which a guess is lowered.
    """

    def __init__(
        self,
        inputs: int,
        seed: int,
        timeouts: Timeouts = "open",
        members: int = 1,
        pessimism: float = 0.0,
    ) -> None:
        self.order = np.random.RandomState(seed)
        self.everywhere, self.pessimism = timeouts == "hidden", pessimism
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.networks = nn.ModuleList(_network(inputs + 1) for _ in range(members))
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=RATE)
        self.inputs = torch.zeros(CAPACITY, inputs + 1)
        self.rewards = torch.zeros(CAPACITY)
        self.seen = 0

    def __call__(self, step: Step) -> Rewards:
        """Learn what was observed, and guess the rest of the rewards, [lanes]."""
        observed = step.observed()
        self._remember(step, observed)
        hidden = [lane for lane in self._hidden(step) if lane not in set(observed)]
        rewards = step.paid.copy()
        if hidden:
            rewards[hidden] = self.predict(_inputs(step, hidden)).numpy()
        return rewards

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Return the guess for each row of inputs, [rows]."""
        if not self.seen:
            return torch.zeros(len(inputs))
        guesses = torch.stack([network(inputs).squeeze(-1) for network in self.networks])
        return guesses.mean(0) - self.pessimism * guesses.std(0, correction=0)

    def fit(self) -> None:
        """Take some steps of descent on the squared error of remembered rewards."""
        known = min(self.seen, CAPACITY)
        for _ in range(STEPS if known else 0):
            loss = torch.zeros(())
            for network in self.networks:  # each on a minibatch of its own
                rows = torch.from_numpy(self.order.randint(known, size=min(BATCH, known)))
                guess = network(self.inputs[rows]).squeeze(-1)
                loss = loss + nn.functional.mse_loss(guess, self.rewards[rows])
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def get_state(self) -> dict[str, Any]:
        """Copy all that its future depends on; arrays, tensors and plain numbers."""
        return {
            "networks": {name: each.clone() for name, each in self.networks.state_dict().items()},
            "optimizer": deepcopy(self.optimizer.state_dict()),
            "order": self.order.get_state(legacy=False),
            "inputs": self.inputs.clone(),
            "rewards": self.rewards.clone(),
            "seen": self.seen,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where `get_state` was called."""
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.order.set_state(state["order"])
        self.inputs, self.rewards = state["inputs"].clone(), state["rewards"].clone()
        self.seen = state["seen"]

    def _hidden(self, step: Step) -> list[int]:
        """Return the lanes whose reward was hidden, unless it was observed."""
        if self.everywhere:
            return [i for i, info in enumerate(step.infos) if not info.get("resetting", False)]
        ended = np.flatnonzero(step.dones).tolist()
        return [i for i in ended if not step.infos[i].get("TimeLimit.truncated", False)]

    def _remember(self, step: Step, lanes: list[int]) -> None:
        lanes = lanes[-CAPACITY:]
        if not lanes:
            return
        slots = (self.seen + torch.arange(len(lanes))) % CAPACITY
        seen = [float(step.infos[lane]["observed_reward"]) for lane in lanes]
        self.inputs[slots], self.rewards[slots] = _inputs(step, lanes), torch.tensor(seen)
        self.seen += len(lanes)


def guess_of(
    label: Label, space: spaces.Space[Any], seed: int | None, timeouts: Timeouts
) -> Guess | None:
    """Return what guesses the rewards that nobody saw; None where those paid are learned from."""
    if label in GUESSES:
        return GUESSES[label]
    drawn = int(np.random.SeedSequence(seed).generate_state(1)[0])  # the policy has the seed itself
    inputs = int(np.prod(space.shape or (1,)))
    if label == "imputed":
        return RewardModel(inputs, drawn, timeouts)
    return RewardModel(inputs, drawn, timeouts, members=MEMBERS, pessimism=PESSIMISM)


def _inputs(step: Step, lanes: list[int]) -> Tensor:
    """Return where some lanes arrived, and whether they ended there, [rows, inputs]."""
    infos, shown = step.infos, step.observations
    reached = [infos[i].get("terminal_observation", shown[i]) for i in lanes]
    flat: NDArray[np.float32] = np.stack(
        [np.append(np.ravel(each), step.dones[i]) for i, each in zip(lanes, reached, strict=True)]
    ).astype(np.float32)
    return torch.from_numpy(flat)


def _network(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1)
    )
