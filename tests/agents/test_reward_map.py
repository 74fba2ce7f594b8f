"""Networks of rewards: the reward map, the convolution over a board, and a policy's features."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from agents import MotivationPolicy, RoutedPPO
from agents.reward_map import BoardReward, RewardMap, RewardMapFeatures
from agents.reward_model import RewardModel
from agents.rollout_buffer import Rewards, RewardSource, Step
from oversight.routing import routing
from tests.agents.factories import ROLLOUT, probabilities, small_agent, small_env

PARTS, SIDE = 4, 3

SHAPE, PLACES = (PARTS, SIDE, SIDE), SIDE**2

SPACE = spaces.MultiBinary(SHAPE)


def boards(number: int, seed: int = 0) -> Tensor:
    """Return planes with the agent somewhere in plane 0, [number, parts, places]."""
    random = np.random.default_rng(seed)
    planes = random.integers(2, size=(number, PARTS, PLACES)).astype(np.float32)
    planes[:, 0] = np.eye(PLACES, dtype=np.float32)[random.integers(PLACES, size=number)]
    return torch.from_numpy(planes)


def arrivals(planes: Tensor, ended: float = 1.0) -> Tensor:
    return torch.cat([planes.flatten(1), torch.full((len(planes), 1), ended)], 1)


@torch.no_grad()
def test_step_has_the_score_of_the_position_it_led_to() -> None:
    reward_map, planes = RewardMap(SHAPE, 0), boards(20)
    there = planes[:, 0].argmax(-1)
    expected = [reward_map.head(board[1:, at]) for board, at in zip(planes, there, strict=True)]
    torch.testing.assert_close(reward_map(arrivals(planes)), torch.stack(expected))
    torch.testing.assert_close(reward_map(arrivals(planes, 0.0)), torch.stack(expected))


@torch.no_grad()
def test_scores_equal_the_reward_of_arriving_at_each_position() -> None:
    reward_map, planes = RewardMap(SHAPE, 0), boards(6)
    scores = reward_map.everywhere(planes)
    for place in range(PLACES):
        planes[:, 0] = torch.eye(PLACES)[place]
        torch.testing.assert_close(scores[:, place], reward_map(arrivals(planes)).squeeze(-1))


@torch.no_grad()
def test_scores_permute_with_positions() -> None:
    reward_map, planes = RewardMap(SHAPE, 0), boards(6)
    moved = torch.randperm(PLACES)
    torch.testing.assert_close(
        reward_map.everywhere(planes)[:, moved], reward_map.everywhere(planes[:, :, moved])
    )


def test_features_are_position_and_scores_without_gradient() -> None:
    extractor, planes = RewardMapFeatures(SPACE, 0, (3,)), boards(6)
    features = extractor(planes.reshape(6, *SHAPE))
    assert features.shape == (6, extractor.features_dim) == (6, 2 * PLACES)
    assert not features.requires_grad
    assert torch.equal(features[:, :PLACES], planes[:, 0])
    other = planes.clone()
    other[:, 3] = 1 - other[:, 3]  # the masked channel
    assert torch.equal(extractor(other.reshape(6, *SHAPE)), features)


def test_features_are_the_observation_without_an_agent_channel() -> None:
    extractor, planes = RewardMapFeatures(SPACE, None, (1,)), boards(5)
    assert torch.equal(extractor(planes.reshape(5, *SHAPE)), planes.flatten(1))
    unmasked = torch.cat([planes[:, :1], planes[:, 2:]], 1).flatten(1)
    for ended in (0.0, 1.0):
        whole = torch.cat([unmasked, torch.full((5, 1), ended)], 1)
        with torch.no_grad():
            score = extractor.reward_map(arrivals(planes, ended))
            assert torch.equal(score, extractor.reward_map.head(whole))


@pytest.mark.parametrize(("shape", "agent_channel"), [(SHAPE, 4), (SHAPE, -1), ((7,), 0), ((), 0)])
def test_reward_map_refuses_a_channel_that_does_not_exist(
    shape: tuple[int, ...], agent_channel: int
) -> None:
    with pytest.raises(ValueError, match=r"agent_channel must be a channel .* got "):
        RewardMap(shape, agent_channel)


def test_features_refuse_an_agent_channel_in_images() -> None:
    image = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    with pytest.raises(ValueError, match="channels of ones and zeros"):
        RewardMapFeatures(image, 0, ())


@pytest.mark.filterwarnings("ignore:no info of the environment")
def test_numbered_observations_are_one_hot_as_in_sb3() -> None:
    lake = RoutedPPO("MotivationPolicy", "FrozenLake-v1", "reward-map", n_steps=8, batch_size=8)
    assert lake.policy.features_dim == 16
    lake.learn(8)


def agent_of(name: str, **settings: Any) -> RoutedPPO:  # noqa: ANN401
    return small_agent(name, **{"agent_channel": 0, **settings})


def policy_of(agent: RoutedPPO) -> MotivationPolicy:
    assert isinstance(agent.policy, MotivationPolicy)
    return agent.policy


def motivation(agent: RoutedPPO) -> RewardMap:
    reward_map = policy_of(agent).reward_map
    assert reward_map is not None
    return reward_map


class FakedRewards(RewardSource):
    """A reward model whose steps have false rewards where the true ones are hidden."""

    def __init__(self, model: RewardModel, fakes: float) -> None:
        self.model, self.fakes = model, fakes

    def __call__(self, step: Step) -> Rewards:
        """Return the rewards of a step whose hidden rewards are fakes."""
        paid = step.paid.copy()
        for lane, info in enumerate(step.infos):
            if step.dones[lane] and not info.get("observed", False):
                paid[lane] = self.fakes
        return self.model(step._replace(paid=paid))

    def fit(self) -> None:
        """Fit the model."""
        self.model.fit()

    def get_state(self) -> dict[str, Any]:
        """Copy the model's state."""
        return self.model.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Set the model's state."""
        self.model.set_state(state)


def trained(name: str, fakes: float) -> RoutedPPO:
    agent = agent_of(name)
    assert isinstance(agent.reward_source, RewardModel)
    model = agent.reward_source
    agent.reward_source = FakedRewards(model, fakes)
    return agent.learn(ROLLOUT)


@pytest.mark.parametrize(
    ("name", "depends"), [("reward-map", False), ("reward-map-unrouted", True)]
)
def test_hidden_rewards_teach_the_reward_map_only_when_unrouted(name: str, depends: bool) -> None:
    honest, faked = trained(name, 1.0), trained(name, 7.0)
    pairs = zip(motivation(honest).parameters(), motivation(faked).parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs) != depends


def test_policy_update_leaves_the_reward_map_alone() -> None:
    agent = agent_of("reward-map")
    agent.reward_source = RewardSource()
    before = [parameter.clone() for parameter in motivation(agent).parameters()]
    rest = [parameter.clone() for parameter in agent.policy.action_net.parameters()]
    agent.learn(ROLLOUT)
    after = motivation(agent).parameters()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    others = agent.policy.action_net.parameters()
    assert not any(torch.equal(one, other) for one, other in zip(rest, others, strict=True))


def test_policy_learns_from_the_reward_map_and_not_from_observed_rewards() -> None:
    agent = agent_of("reward-map")
    model = agent.reward_source
    assert isinstance(model, RewardModel)
    model.seen = 1  # as if it had learned something: its first weights predict
    agent.learn(ROLLOUT)
    buffer = agent.rollout_buffer
    ends, rewards = buffer.episode_starts[1:] > 0, buffer.rewards[:-1]
    paid = rewards[ends]
    assert len(paid) > 20
    assert not np.isin(paid, [1.0, -1.0]).any()
    assert (rewards[~ends] == 0).all()


def test_actions_depend_on_position_alone_when_scores_are_zero() -> None:
    agent = agent_of("reward-map").learn(2 * ROLLOUT)
    observations = torch.as_tensor(small_env().reset(seed=1)[0]).float()
    deployed = agent.deployed()
    with torch.no_grad():
        with_scores = probabilities(deployed, observations)
        for parameter in deployed.reward_map.parameters():  # type: ignore[union-attr]
            parameter.zero_()
        without_scores = probabilities(deployed, observations)
    where = observations[:, 0].flatten(1)
    for position in torch.eye(where.shape[1])[where.argmax(-1)]:  # all that is left to act on
        alike = without_scores[(where == position).all(-1)]
        torch.testing.assert_close(alike, alike[:1].expand_as(alike))
    assert not torch.allclose(with_scores, without_scores)


def test_reversed_policy_has_negated_scores() -> None:
    agent = agent_of("reward-map")
    observations = torch.as_tensor(small_env().reset(seed=1)[0]).float().flatten(2)
    opposite = policy_of(agent).reversed().reward_map
    assert opposite is not None
    with torch.no_grad():
        assert torch.equal(
            opposite.everywhere(observations), -motivation(agent).everywhere(observations)
        )
    with pytest.raises(ValueError, match="no reward map"):
        policy_of(small_agent("naive")).reversed()


def test_hidden_rows_have_no_gradient_at_the_gate() -> None:
    agent = agent_of("reward-map")
    table, routes = agent.method.table, torch.tensor([0, 1, 2, 3])
    inputs = arrivals(boards(4)[:, :, :PLACES]).requires_grad_()
    reward_map = RewardMap(SHAPE, 0)
    with routing(reward_map, table, routes):
        reward_map(inputs).sum().backward()
    assert inputs.grad is not None
    reached = inputs.grad[:, PLACES:].abs().sum(-1) > 0
    assert not reached[2]
    assert not reached[3]


BOARD = (2, 7, 8)


def board_reward(seed: int = 0) -> BoardReward:
    """Return a convolution whose last layer has left its zeros."""
    torch.manual_seed(seed)
    network = BoardReward(BOARD)
    for parameter in network.layers[-1].parameters():
        torch.nn.init.normal_(parameter)
    network(flat(torch.rand(5, *BOARD), 1.0))  # shows it that all channels vary
    return network


def flat(planes: Tensor, ended: float) -> Tensor:
    """Return boards as arrivals, [rows, features + 1]."""
    return arrivals(planes.flatten(2), ended)


@torch.no_grad()
def test_board_is_worth_the_sum_of_the_scores_of_its_cells() -> None:
    network, planes = board_reward(), torch.rand(5, *BOARD)
    scores = network.scores(planes, torch.ones(5))
    assert scores.shape == (5, *BOARD[1:])
    torch.testing.assert_close(network(flat(planes, 1.0)).squeeze(1), scores.sum((1, 2)))
    assert not torch.equal(network(flat(planes, 0.0)), network(flat(planes, 1.0)))
    assert not BoardReward(BOARD)(flat(planes, 1.0)).any()  # at first


@torch.no_grad()
def test_worth_of_a_board_moves_with_what_is_on_it() -> None:
    network, planes = board_reward(), torch.zeros(1, *BOARD)
    planes[0, :, 3, 2], planes[0, 0, 4, 2] = 1, 1
    moved = torch.roll(planes, (-1, 3), (2, 3))
    torch.testing.assert_close(network(flat(planes, 1.0)), network(flat(moved, 1.0)))


def meetings(columns: range) -> tuple[Tensor, Tensor]:
    """Return boards with agent and goal in some columns, and whether they share a cell."""
    places = [(row, column) for row in range(1, 6) for column in columns]
    pairs = [(one, other) for one in places for other in places]
    planes = torch.zeros(len(pairs), *BOARD)
    for board, (one, other) in zip(planes, pairs, strict=True):
        board[0][one] = board[1][other] = 1
    return flat(planes, 0.0), torch.tensor([float(one == other) for one, other in pairs])


def test_convolution_predicts_the_reward_of_cells_that_it_has_not_seen() -> None:
    torch.manual_seed(0)
    model = RewardModel([BoardReward(BOARD)], int(np.prod(BOARD)), 0, "hidden")
    inputs, rewards = meetings(range(1, 3))
    model.seen = len(inputs)
    model.inputs[: model.seen], model.rewards[: model.seen] = inputs, rewards
    for _ in range(8):
        model.fit()
    inputs, rewards = meetings(range(4, 7))
    torch.testing.assert_close(model.predict(inputs), rewards, rtol=0, atol=0.2)
