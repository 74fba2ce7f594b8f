"""Reward sources: what a method learns from in place of the reward that the environment pays.

- `ObservedRewards` are the observed ones, and elsewhere the paid one or 0.
- `RewardModel` fits small networks to observed rewards and predicts the hidden ones; they are those
  of `agents.reward_map`.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.boards import ScoreMapFeatures
from agents.features import is_planes
from agents.reward_map import WHOLE, BoardReward, RewardMap, map_of, reward_head
from agents.rollout_buffer import (
    HIDDEN,
    NEGATIVE,
    POSITIVE,
    ROUTES,
    Rewards,
    RewardSource,
    Step,
    Timeouts,
    in_route_order,
    observed_reward,
    require_choice,
    set_generator_state,
    spaced,
)
from agents.score_maps import ScoreMaps
from agents.spaces import lane_of, num_numbers, numbers_of
from oversight.routing import RouteTable, audit, routing


def observed_or(step: Step, default: Rewards) -> Rewards:
    """Return the observed reward of each lane, or its default where nothing was observed, [lanes].

    >>> infos = [{"observed": True, "observed_reward": -1.0}, {}]
    >>> step = Step(None, np.array([1, 1], np.float32), np.array([True, True]), infos)
    >>> observed_or(step, np.zeros(2, np.float32))
    array([-1.,  0.], dtype=float32)
    """
    rewards = default.copy()
    for lane in step.observed():
        rewards[lane] = observed_reward(step.infos[lane], lane)
    return rewards


Elsewhere = Literal["paid", "zero"]


class ObservedRewards(RewardSource):
    """Returns the observed reward, and elsewhere the one paid, or 0.

    Args:
        elsewhere: what a step is worth whose reward was not observed.

    Raises:
        ValueError: if `elsewhere` is neither.
    """

    def __init__(self, elsewhere: Elsewhere) -> None:
        require_choice("elsewhere", elsewhere, Elsewhere)
        self.elsewhere = elsewhere

    def __call__(self, step: Step) -> Rewards:
        """Return the reward of each lane, [lanes]."""
        return observed_or(
            step, step.paid if self.elsewhere == "paid" else np.zeros_like(step.paid)
        )


CAPACITY, BATCH, STEPS, RATE = 8192, 256, 64, 1e-3
"""Steps remembered, and how a network is fitted to them after each rollout."""
MOST_NUMBERS = 2**24
"""Numbers remembered at most, so that of images fewer steps are: 792 of 84 x 84 x 3 pixels."""

OBSERVED = RouteTable(
    {route: {"motivation": float(route in ("positive", "negative"))} for route in ROUTES}
)
"""Observed rewards teach, and no others."""


class RewardModel(RewardSource):
    """A reward source of small networks, fitted to observed rewards, that predict hidden ones.

    They read where a step led and whether the episode ended there, and nothing else; with
    `transitions` they also read where it came from, before that. The
    prediction is the mean over the networks less `pessimism` times their deviation; before any
    reward was observed it is 0. Rewards that cannot have been hidden are kept: with
    `timeouts="open"` rewards hide at terminals alone, with `"hidden"` at every unobserved step.

    It draws from a generator of its own, and leaves PyTorch's alone. Checkpoints hold it; an agent
    that SB3 saved and loaded begins with a new one.

    Args:
        networks: networks that map arrivals, [rows, inputs + 1], or transitions,
            [rows, 2 * inputs + 1], to rewards, [rows, 1], each behind a `Gate("motivation")`; see
            `reward_head`.
        inputs: number of values in an observation.
        seed: seed of the networks' minibatches.
        timeouts: as for `RoutedPPO`.
        pessimism: number of deviations by which a prediction is lowered.
        table: route table whose target `motivation` says which routes teach the networks.
        predicts_observed: whether the prediction also replaces the rewards that were observed.
        rounds: whether each network's prediction is rounded to the nearest reward remembered. Where
            most steps pay 0 an agent that lingers would otherwise collect small errors, step by
            step, until they outweigh the reward at the end.
        space: the observation space, by which an observation becomes a row of numbers; by default
            its numbers are taken as they are. See `numbers_of`.
        transitions: whether the networks read the observation before a step as well.

    Raises:
        ValueError: if `timeouts` is none of its choices, the table names other routes than
            `ROUTES`, or it lacks the target.
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
        predicts_observed: bool = False,
        rounds: bool = False,
        space: spaces.Space[Any] | None = None,
        transitions: bool = False,
    ) -> None:
        require_choice("timeouts", timeouts, Timeouts)
        table, self.space = in_route_order(table), space
        self.transitions, self.before = transitions, np.zeros((0, inputs))
        if "motivation" not in table.target_names:
            raise ValueError(
                "a reward model learns by the target 'motivation' of its route table, which has "
                f"{', '.join(table.target_names)}: add that target to every row"
            )
        self.order = np.random.RandomState(seed)
        self.every_step_hides, self.pessimism = timeouts == "hidden", pessimism
        self.table, self.predicts_observed = table, predicts_observed
        self.rounds = rounds
        self.learns_hidden = table.as_dict()["hidden"]["motivation"] != 0
        self.networks = nn.ModuleList(networks)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=RATE)
        width = (2 * inputs if transitions else inputs) + 1
        self.capacity = min(CAPACITY, max(BATCH, MOST_NUMBERS // width))
        self.inputs = torch.zeros(self.capacity, width)
        self.rewards = torch.zeros(self.capacity)
        self.routes = torch.zeros(self.capacity, dtype=torch.int64)
        self.seen = 0

    def show(self, observations: Any) -> Any:  # noqa: ANN401 (of any space)
        """Return the observations, and remember them as those before the next step."""
        if self.transitions:
            self.before = np.array(self._rows(observations))
        return observations

    def __call__(self, step: Step) -> Rewards:
        """Remember what teaches, and return the reward of each lane, [lanes]."""
        observed, may_hide = step.observed(), self._may_hide(step)
        hidden = sorted({*may_hide} - {*observed})
        seen = [observed_reward(step.infos[lane], lane) for lane in observed]
        self._remember(step, observed, seen, [POSITIVE if each > 0 else NEGATIVE for each in seen])
        if self.learns_hidden:
            paid = [float(step.paid[lane]) for lane in hidden]
            self._remember(step, hidden, paid, [HIDDEN] * len(hidden))
        predicted = may_hide if self.predicts_observed else hidden
        rewards = step.paid.copy()
        if predicted:
            rewards[predicted] = self.predict(self._arrivals(step, predicted)).numpy()
        return rewards if self.predicts_observed else observed_or(step, rewards)

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Return the predicted reward of each row of inputs, [rows]."""
        if not self.seen:
            return torch.zeros(len(inputs))
        inputs = inputs.to(self._like)
        predicted = torch.stack([network(inputs).squeeze(-1) for network in self.networks])
        predicted = predicted.float().cpu()  # [networks, rows]
        if self.rounds:
            remembered = self.rewards[: min(self.seen, self.capacity)]
            predicted = nearest(predicted, torch.unique(remembered))
        return predicted.mean(0) - self.pessimism * predicted.std(0, correction=0)

    @torch.no_grad()
    def scores(
        self,
        before: Any,  # noqa: ANN401 (of any space)
        after: Any,  # noqa: ANN401
        ended: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Return what the networks predict for steps, as a mean over the networks, [batch].

        It is not rounded, and nothing is taken off.

        Args:
            before: observations from which steps came, [batch, ...].
            after: observations to which they led.
            ended: whether an episode ended there, [batch].
        """
        came = [self._rows(before)] if self.transitions else []
        read = np.column_stack([*came, self._rows(after), ended]).astype(np.float32)
        inputs = torch.from_numpy(read).to(self._like)
        predicted = torch.stack([network(inputs).squeeze(-1) for network in self.networks])
        mean: NDArray[np.float64] = predicted.mean(0).double().cpu().numpy()
        return mean

    def fit(self) -> None:
        """Take some steps of descent on the squared error of remembered rewards."""
        known = min(self.seen, self.capacity)
        for _ in range(STEPS if known else 0):
            self.optimizer.zero_grad()
            for network in self.networks:  # each on a minibatch of its own, so that they differ
                rows = torch.from_numpy(self.order.randint(known, size=min(BATCH, known)))
                inputs, rewards = self.inputs[rows], self.rewards[rows]
                with routing(network, self.table, self.routes[rows]):
                    predicted = network(inputs.to(self._like)).squeeze(-1)
                    loss = nn.functional.mse_loss(predicted, rewards.to(predicted))
                    loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def audit(self) -> dict[str, dict[str, float]]:
        """Return the norm of the gradient that remembered steps of each route send to the networks.

        The target is `motivation` if they are a module of the policy, and else `reward_model`.
        """
        rows = spaced(torch.arange(min(self.seen, self.capacity)), BATCH)
        if not len(rows):
            return {}
        networks = deepcopy(self.networks)  # some remember the range of what they have learned from
        inputs, rewards = self.inputs[rows].to(self._like), self.rewards[rows].to(self._like)
        routes = self.routes[rows]
        with routing(networks, self.table, routes):
            errors = [(network(inputs).squeeze(-1) - rewards).square() for network in networks]
            losses = torch.stack(errors).sum(0) / len(rows)
        target = "motivation" if self.predicts_observed else "reward_model"
        return audit(losses, {target: networks}, self.table, routes)

    def get_state(self) -> dict[str, Any]:
        """Copy all that its future depends on: arrays, tensors and plain numbers."""
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
        set_generator_state(self.order, state["order"])
        self.inputs, self.rewards = state["inputs"].clone(), state["rewards"].clone()
        self.routes = state["routes"].clone()
        self.seen = state["seen"]

    @property
    def _like(self) -> Tensor:
        return next(self.networks.parameters())

    def _may_hide(self, step: Step) -> list[int]:
        """Return the lanes whose reward is hidden unless it was observed."""
        if self.every_step_hides:
            return [i for i, info in enumerate(step.infos) if not info.get("resetting", False)]
        ended = np.flatnonzero(step.dones).tolist()
        return [i for i in ended if not step.infos[i].get("TimeLimit.truncated", False)]

    def _remember(
        self, step: Step, lanes: list[int], rewards: list[float], routes: list[int]
    ) -> None:
        if not lanes:
            return
        last = slice(-self.capacity, None)
        slots = (self.seen + torch.arange(len(lanes[last]))) % self.capacity
        self.inputs[slots] = self._arrivals(step, lanes[last])
        self.rewards[slots] = torch.tensor(rewards[last])
        self.routes[slots] = torch.tensor(routes[last])
        self.seen += len(slots)

    def _arrivals(self, step: Step, lanes: list[int]) -> Tensor:
        """Return where some lanes arrived, and whether they ended there, as networks read it."""
        rows = self._rows(lane_of(step.observations, lanes))
        for row, lane in enumerate(lanes):
            last = step.infos[lane].get("terminal_observation")
            if last is not None:
                rows[row] = self._rows(_alone(last))[0]
        before = [self.before[lanes]] if self.transitions else []
        read = np.column_stack([*before, rows, step.dones[lanes]])
        return torch.from_numpy(read.astype(np.float32))

    def _rows(self, observations: Any) -> NDArray[Any]:  # noqa: ANN401 (of any space)
        if self.space is None:
            return np.reshape(observations, (len(observations), -1))
        return numbers_of(self.space, observations)


def _alone(observation: Any) -> Any:  # noqa: ANN401 (of any space)
    """Return a single observation as those of one lane."""
    if isinstance(observation, Mapping):
        return {key: _alone(part) for key, part in observation.items()}
    return np.asarray(observation)[None]


def nearest(values: Tensor, choices: Tensor) -> Tensor:
    """Return the choice that is nearest to each value.

    Args:
        values: of any shape.
        choices: at least one, in ascending order.

    >>> nearest(torch.tensor([0.1, 0.7, 9.0]), torch.tensor([0.0, 1.0]))
    tensor([0., 1., 1.])
    """
    above = torch.searchsorted(choices, values.contiguous()).clamp(max=len(choices) - 1)
    upper, lower = choices[above], choices[(above - 1).clamp(min=0)]
    return torch.where(values - lower < upper - values, lower, upper)


class Learner(NamedTuple):
    """The agent for which a reward source is built.

    Attributes:
        observation_space: observation space of its environment.
        seed: seed of its policy.
        timeouts: as for `RoutedPPO`.
        agent_channel: as for `RoutedPPO`.
        table: route table of its method.
        reward_map: reward map in its policy, if its method has one.
        score_maps: features of its policy that hold score maps, if its method has some.
    """

    observation_space: spaces.Space[Any]
    seed: int | None
    timeouts: Timeouts
    agent_channel: int | None
    table: RouteTable
    reward_map: RewardMap | None
    score_maps: ScoreMapFeatures | None = None

    @property
    def inputs(self) -> int:
        """The number of values in an observation."""
        return num_numbers(self.observation_space)

    @property
    def own_seed(self) -> int:
        """A seed for the source, which differs from that of the policy."""
        return int(np.random.SeedSequence(self.seed).generate_state(1)[0])


SourceFactory = Callable[[Learner], RewardSource]
"""How a method makes the reward source of an agent."""


def observed_else_paid(learner: Learner) -> RewardSource:
    """Learn from the observed reward, and from the one paid where nothing was observed."""
    return ObservedRewards("paid")


def observed_else_zero(learner: Learner) -> RewardSource:
    """Learn from the observed reward, and from 0 elsewhere (Yu et al. 2022, arXiv 2202.01741)."""
    return ObservedRewards("zero")


def reward_model(learner: Learner) -> RewardSource:
    """Learn from the observed reward, and elsewhere from the prediction of one network."""
    return _fitted(learner, _reward_heads(learner, 1))


def convolutional_model(learner: Learner) -> RewardSource:
    """Learn as by `reward_model`, from a convolution where observations are planes."""
    boards = _of_board(learner)
    return _fitted(learner, _board_heads(learner, 1), rounds=boards, transitions=boards)


def pessimistic_ensemble(learner: Learner) -> RewardSource:
    """Learn from the observed reward, and elsewhere from the lowered mean of five networks."""
    return _fitted(learner, _reward_heads(learner, 5), pessimism=1.0)


def pessimistic_convolutions(learner: Learner) -> RewardSource:
    """Learn as by `pessimistic_ensemble`, from convolutions where observations are planes."""
    heads, boards = _board_heads(learner, 5), _of_board(learner)
    return _fitted(learner, heads, pessimism=1.0, rounds=boards, transitions=boards)


def separate_reward_map(learner: Learner) -> RewardSource:
    """Learn from the observed reward, and elsewhere from a reward map outside of the policy."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(learner.own_seed)
        network = map_of(learner.observation_space, learner.agent_channel)
    return _fitted(learner, [network])


def routed_reward_map(learner: Learner) -> RewardSource:
    """Learn from the policy's own reward map alone, which the method's table teaches."""
    assert learner.reward_map is not None, "RoutedPPO refuses a policy without a reward map"
    return _fitted(learner, [learner.reward_map], table=learner.table, predicts_observed=True)


def score_maps(learner: Learner) -> RewardSource:
    """Learn to go where score maps send the policy, which the method's table teaches."""
    assert learner.score_maps is not None, "RoutedPPO refuses a policy without score maps"
    return ScoreMaps(learner.score_maps, learner.table, learner.own_seed, learner.timeouts)


def _fitted(learner: Learner, networks: Sequence[nn.Module], **settings: Any) -> RewardModel:  # noqa: ANN401
    """Return a reward model of some networks for an agent."""
    settings["space"] = learner.observation_space
    return RewardModel(networks, learner.inputs, learner.own_seed, learner.timeouts, **settings)


def _reward_heads(learner: Learner, members: int) -> list[nn.Module]:
    """Return networks that score a whole observation, drawn from the source's own seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(learner.own_seed)
        return [reward_head(learner.inputs + 1, WHOLE) for _ in range(members)]


def _of_board(learner: Learner) -> bool:
    return is_planes(learner.observation_space)


def _board_heads(learner: Learner, members: int) -> list[nn.Module]:
    """Return convolutions over the boards before and after a step.

    Of other observations than planes they are the perceptrons, which read those after it.
    """
    if not _of_board(learner):
        return _reward_heads(learner, members)
    channels, *board = learner.observation_space.shape or ()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(learner.own_seed)
        return [BoardReward((2 * channels, *board)) for _ in range(members)]
