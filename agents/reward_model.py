"""A reward model: what observed rewards say of those that nobody saw.

The rewards that a learner puts in the place of those paid: what was observed, and a guess.

What each method puts in the place of a reward that nobody saw.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor, nn

from agents.method import HIDDEN, NEGATIVE, POSITIVE, ROUTES, Label, Method, Timeouts
from agents.reward_map import WHOLE, RewardMap, reward_head
from agents.rollout_buffer import RoutedBuffer
from oversight.routing import RouteTable, routing

Rewards = NDArray[np.float32]


class Step(NamedTuple):
    """What a learner is shown of one step of every lane, as SB3's vector environments show it."""

    observations: Any
    paid: Rewards
    dones: NDArray[np.bool_]
    infos: Sequence[Mapping[str, Any]]

    def observed(self) -> list[int]:
        """Return the lanes whose reward was observed."""
        return [lane for lane, info in enumerate(self.infos) if info.get("observed", False)]


Labels = Callable[[Step], Rewards]
"""From a step to the reward of each lane, [lanes]."""
Guess = Labels
"""The same, of which the rewards of observed lanes are not used."""


def as_paid(step: Step) -> Rewards:
    """Guess what was paid."""
    return step.paid


def nothing(step: Step) -> Rewards:
    """Guess 0, as for unlabelled data in Yu et al. 2022 (arXiv 2202.01741)."""
    return np.zeros_like(step.paid)


def labelled(step: Step, guess: Guess) -> Rewards:
    """Return the observed reward of each lane, or the guess where nothing was observed, [lanes].

    >>> infos = [{"observed": True, "observed_reward": -1.0}, {}]
    >>> step = Step(None, np.array([1, 1], np.float32), np.array([True, True]), infos)
    >>> labelled(step, nothing)
    array([-1.,  0.], dtype=float32)
    """
    rewards = guess(step).copy()
    for lane in step.observed():
        rewards[lane] = step.infos[lane]["observed_reward"]
    return rewards


class Labelled(VecEnvWrapper):
    """An environment as it is shown for one rollout: it pays labels.

    What is paid beyond them is put aside in the rollout buffer, at the step of its coming `add`.

    Args:
        venv: the environment.
        labels: from a step to the reward of each lane, [lanes].
        buffer: the rollout buffer.
    """

    def __init__(self, venv: VecEnv, labels: Labels, buffer: RoutedBuffer) -> None:
        super().__init__(venv)
        self.labels, self.buffer = labels, buffer

    def reset(self) -> Any:  # noqa: ANN401 (of any space)
        """Reset the environment."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step every lane, and pay the labels."""
        observations, paid, dones, infos = self.venv.step_wait()
        rewards = self.labels(Step(observations, paid, dones, infos))
        self.buffer.proxy_residual[self.buffer.pos] = paid - rewards
        return observations, rewards, dones, infos


CAPACITY, BATCH, STEPS, RATE = 8192, 256, 64, 1e-3
"""Steps remembered, and how a network is fitted to them after each rollout."""

OBSERVED = RouteTable(
    {route: {"motivation": float(route in ("positive", "negative"))} for route in ROUTES}
)
"""Observed rewards teach, and no others."""


class RewardModel:
    """Small networks, fitted to observed rewards, that guess the others.

    They read where a step led to and whether the episode ended there, and nothing else. The guess
    is the mean over the networks less `pessimism` times their deviation; with no reward observed
    so far it is 0. What was paid stays where nothing was hidden: with `timeouts="open"` rewards
    hide at terminals alone, with `"hidden"` at every step that was not observed.

    It draws from a generator of its own, and leaves PyTorch's alone. Checkpoints hold it; an agent
    that SB3 saved and loaded begins with a new one.

    Args:
        networks: from arrivals, [rows, inputs + 1], to a guess for each, [rows, 1], each behind a
            `Gate("motivation")`; see `perceptrons`.
        inputs: numbers in an observation.
        seed: of their minibatches.
        timeouts: as for `RoutedPPO`.
        pessimism: deviations by which a guess is lowered.
        table: which routes teach them, at the target `motivation`, the rewards that were paid.
        instead: whether it also judges what was observed, in place of the reward seen.
    """

    def __init__(  # noqa: PLR0913 (each is one decision, and all but three have a default)
        self,
        networks: Sequence[nn.Module],
        inputs: int,
        seed: int,
        timeouts: Timeouts = "open",
        *,
        pessimism: float = 0.0,
        table: RouteTable = OBSERVED,
        instead: bool = False,
    ) -> None:
        self.order = np.random.RandomState(seed)
        self.everywhere, self.pessimism = timeouts == "hidden", pessimism
        self.table, self.instead = table, instead
        self.heeds_hidden = table.as_dict()["hidden"]["motivation"] != 0
        self.networks = nn.ModuleList(networks)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=RATE)
        self.inputs = torch.zeros(CAPACITY, inputs + 1)
        self.rewards = torch.zeros(CAPACITY)
        self.routes = torch.zeros(CAPACITY, dtype=torch.int64)
        self.seen = 0

    def __call__(self, step: Step) -> Rewards:
        """Remember what teaches, and guess the rest of the rewards, [lanes]."""
        observed, hiding = step.observed(), self._hiding(step)
        hidden = sorted({*hiding} - {*observed})
        seen = [float(step.infos[lane]["observed_reward"]) for lane in observed]
        self._remember(step, observed, seen, [POSITIVE if each > 0 else NEGATIVE for each in seen])
        if self.heeds_hidden:
            paid = [float(step.paid[lane]) for lane in hidden]
            self._remember(step, hidden, paid, [HIDDEN] * len(hidden))
        guessed = hiding if self.instead else hidden
        rewards = step.paid.copy()
        if guessed:
            rewards[guessed] = self.predict(_inputs(step, guessed)).numpy()
        return rewards

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Return the guess for each row of inputs, [rows]."""
        if not self.seen:
            return torch.zeros(len(inputs))
        inputs = inputs.to(self._like)
        guesses = torch.stack([network(inputs).squeeze(-1) for network in self.networks])
        guesses = guesses.float().cpu()
        return guesses.mean(0) - self.pessimism * guesses.std(0, correction=0)

    def fit(self) -> None:
        """Take some steps of descent on the squared error of remembered rewards."""
        known = min(self.seen, CAPACITY)
        for _ in range(STEPS if known else 0):
            self.optimizer.zero_grad()
            for network in self.networks:  # each on a minibatch of its own
                rows = torch.from_numpy(self.order.randint(known, size=min(BATCH, known)))
                inputs, rewards = self.inputs[rows], self.rewards[rows]
                with routing(network, self.table, self.routes[rows]):
                    guess = network(inputs.to(self._like)).squeeze(-1)
                    loss = nn.functional.mse_loss(guess, rewards.to(guess))
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
            "routes": self.routes.clone(),
            "seen": self.seen,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where `get_state` was called."""
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.order.set_state(state["order"])
        self.inputs, self.rewards = state["inputs"].clone(), state["rewards"].clone()
        self.routes = state["routes"].clone()
        self.seen = state["seen"]

    @property
    def _like(self) -> Tensor:
        return next(self.networks.parameters())

    def _hiding(self, step: Step) -> list[int]:
        """Return the lanes whose reward was hidden, unless it was observed."""
        if self.everywhere:
            return [i for i, info in enumerate(step.infos) if not info.get("resetting", False)]
        ended = np.flatnonzero(step.dones).tolist()
        return [i for i in ended if not step.infos[i].get("TimeLimit.truncated", False)]

    def _remember(
        self, step: Step, lanes: list[int], rewards: list[float], routes: list[int]
    ) -> None:
        if not lanes:
            return
        last = slice(-CAPACITY, None)
        slots = (self.seen + torch.arange(len(lanes[last]))) % CAPACITY
        self.inputs[slots] = _inputs(step, lanes[last])
        self.rewards[slots] = torch.tensor(rewards[last])
        self.routes[slots] = torch.tensor(routes[last])
        self.seen += len(slots)


def perceptrons(inputs: int, seed: int, members: int = 1) -> list[nn.Module]:
    """Return networks that judge a whole observation, for a `RewardModel`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [reward_head(inputs + 1, WHOLE) for _ in range(members)]


def _inputs(step: Step, lanes: list[int]) -> Tensor:
    """Return where some lanes arrived, and whether they ended there, [rows, inputs]."""
    infos, shown = step.infos, step.observations
    reached = [infos[i].get("terminal_observation", shown[i]) for i in lanes]
    flat: NDArray[np.float32] = np.stack(
        [np.append(np.ravel(each), step.dones[i]) for i, each in zip(lanes, reached, strict=True)]
    ).astype(np.float32)
    return torch.from_numpy(flat)


MEMBERS, PESSIMISM = 5, 1.0
"""Networks of the pessimistic model, and by how many of their deviations it lowers its guess."""
SOURCES: dict[Label, Guess | None] = {"paid": None, "observed": as_paid, "zero": nothing}


def reward_source(
    method: Method,
    space: spaces.Space[Any],
    seed: int | None,
    timeouts: Timeouts,
    agent_channel: int | None = None,
    motivation: RewardMap | None = None,
) -> Guess | None:
    """Return what guesses the rewards that nobody saw; None where those paid are learned from.

    Args:
        method: what learns.
        space: of observations.
        seed: of the agent.
        timeouts: as for `RoutedPPO`.
        agent_channel: as for `RoutedPPO`.
        motivation: the policy's own reward_map, of a method that has one.
    """
    if method.label in SOURCES:
        return SOURCES[method.label]
    shape = space.shape or ()
    inputs = int(np.prod(shape or (1,)))
    drawn = int(np.random.SeedSequence(seed).generate_state(1)[0])  # the policy has the seed itself
    if motivation is not None:
        return RewardModel([motivation], inputs, drawn, timeouts, table=method.table, instead=True)
    if method.label == "imputed-map":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(drawn)
            return RewardModel([RewardMap(shape, agent_channel)], inputs, drawn, timeouts)
    if method.label == "imputed":
        return RewardModel(perceptrons(inputs, drawn), inputs, drawn, timeouts)
    networks = perceptrons(inputs, drawn, MEMBERS)
    return RewardModel(networks, inputs, drawn, timeouts, pessimism=PESSIMISM)


def labels_of(method: Method, guess: Guess) -> Labels:
    """Return what a method learns from: what was observed and the guess, or its own judgement."""
    return guess if method.has_reward_map else partial(labelled, guess=guess)
