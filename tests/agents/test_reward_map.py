"""The reward_map judges places one by one, learns from what was seen, and is all that is wanted."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from agents import MotivationPolicy, RoutedPPO
from agents.policy import RewardMapFeatures
from agents.reward_model import FixedRewards, RewardMap, RewardModel, Step
from oversight.routing import routing
from tests.agents.small import ROLLOUT, probabilities, small_agent, small_env

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
def test_a_step_is_worth_what_the_place_is_worth_to_which_it_led() -> None:
    reward_map, planes = RewardMap(SHAPE, 0), boards(20)
    there = planes[:, 0].argmax(-1)
    expected = [reward_map.head(board[1:, at]) for board, at in zip(planes, there, strict=True)]
    torch.testing.assert_close(reward_map(arrivals(planes)), torch.stack(expected))
    torch.testing.assert_close(reward_map(arrivals(planes, 0.0)), torch.stack(expected))


@torch.no_grad()
def test_every_place_is_worth_what_arriving_there_would_be() -> None:
    reward_map, planes = RewardMap(SHAPE, 0), boards(6)
    worth = reward_map.everywhere(planes)
    for place in range(PLACES):
        planes[:, 0] = torch.eye(PLACES)[place]
        torch.testing.assert_close(worth[:, place], reward_map(arrivals(planes)).squeeze(-1))


@torch.no_grad()
def test_what_is_learned_of_a_place_holds_for_all() -> None:
    reward_map, planes = RewardMap(SHAPE, 0), boards(6)
    moved = torch.randperm(PLACES)
    torch.testing.assert_close(
        reward_map.everywhere(planes)[:, moved], reward_map.everywhere(planes[:, :, moved])
    )


def test_a_policy_sees_its_place_and_worths_and_no_gradient_returns() -> None:
    extractor, planes = RewardMapFeatures(SPACE, 0, (3,)), boards(6)
    features = extractor(planes.reshape(6, *SHAPE))
    assert features.shape == (6, extractor.features_dim) == (6, 2 * PLACES)
    assert not features.requires_grad
    assert torch.equal(features[:, :PLACES], planes[:, 0])
    other = planes.clone()
    other[:, 3] = 1 - other[:, 3]  # what it is blind to
    assert torch.equal(extractor(other.reshape(6, *SHAPE)), features)


def test_without_a_place_it_judges_the_whole_and_hides_nothing() -> None:
    extractor, planes = RewardMapFeatures(SPACE, None, (1,)), boards(5)
    assert torch.equal(extractor(planes.reshape(5, *SHAPE)), planes.flatten(1))
    kept = torch.cat([planes[:, :1], planes[:, 2:]], 1).flatten(1)
    for ended in (0.0, 1.0):
        whole = torch.cat([kept, torch.full((5, 1), ended)], 1)
        with torch.no_grad():
            judged = extractor.reward_map(arrivals(planes, ended))
            assert torch.equal(judged, extractor.reward_map.head(whole))


@pytest.mark.parametrize(("shape", "agent_channel"), [(SHAPE, 4), (SHAPE, -1), ((7,), 0), ((), 0)])
def test_a_plane_that_is_not_there_is_refused(shape: tuple[int, ...], agent_channel: int) -> None:
    with pytest.raises(ValueError, match=r"agent_channel must be a channel .* got "):
        RewardMap(shape, agent_channel)


def test_an_image_has_no_planes() -> None:
    image = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    with pytest.raises(ValueError, match="channels of ones and zeros"):
        RewardMapFeatures(image, 0, ())


def test_without_a_place_a_number_is_seen_as_sb3_shows_it() -> None:
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


class Lying:
    """A guess that is asked about other rewards where nobody saw them."""

    def __init__(self, model: RewardModel, fakes: float) -> None:
        self.model, self.fakes = model, fakes

    def __call__(self, step: Step) -> Any:  # noqa: ANN401
        """Judge a step whose hidden rewards are fakes."""
        paid = step.paid.copy()
        for lane, info in enumerate(step.infos):
            if step.dones[lane] and not info.get("observed", False):
                paid[lane] = self.fakes
        return self.model(step._replace(paid=paid))

    def fit(self) -> None:
        """Fit the model."""
        self.model.fit()


def trained(name: str, fakes: float) -> RoutedPPO:
    agent = agent_of(name)
    assert isinstance(agent.reward_source, RewardModel)
    model = agent.reward_source
    agent.reward_source = Lying(model, fakes)
    return agent.learn(ROLLOUT)


@pytest.mark.parametrize(("name", "heeds"), [("reward-map", False), ("reward-map-unrouted", True)])
def test_what_nobody_saw_teaches_motivation_only_without_routing(name: str, heeds: bool) -> None:
    honest, lied_to = trained(name, 1.0), trained(name, 7.0)
    pairs = zip(motivation(honest).parameters(), motivation(lied_to).parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs) != heeds


def test_the_update_of_the_rest_leaves_motivation_alone() -> None:
    agent = agent_of("reward-map")
    agent.reward_source = FixedRewards(lambda step: step.paid)
    before = [parameter.clone() for parameter in motivation(agent).parameters()]
    rest = [parameter.clone() for parameter in agent.policy.action_net.parameters()]
    agent.learn(ROLLOUT)
    after = motivation(agent).parameters()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    others = agent.policy.action_net.parameters()
    assert not any(torch.equal(one, other) for one, other in zip(rest, others, strict=True))


def test_the_rest_is_paid_by_motivation_and_never_by_what_was_seen() -> None:
    agent = agent_of("reward-map")
    model = agent.reward_source
    assert isinstance(model, RewardModel)
    model.seen = 1  # as if it had learned something: its first weights judge
    agent.learn(ROLLOUT)
    buffer = agent.rollout_buffer
    ends, rewards = buffer.episode_starts[1:] > 0, buffer.rewards[:-1]
    paid = rewards[ends]
    assert len(paid) > 20
    assert not np.isin(paid, [1.0, -1.0]).any()
    assert (rewards[~ends] == 0).all()


def test_all_that_is_wanted_comes_from_motivation() -> None:
    agent = agent_of("reward-map").learn(2 * ROLLOUT)
    observations = torch.as_tensor(small_env().reset(seed=1)[0]).float()
    deployed = agent.deployed()
    with torch.no_grad():
        wanting = probabilities(deployed, observations)
        for parameter in deployed.reward_map.parameters():  # type: ignore[union-attr]
            parameter.zero_()
        nothing = probabilities(deployed, observations)
    where = observations[:, 0].flatten(1)
    for position in torch.eye(where.shape[1])[where.argmax(-1)]:  # all that is left to act on
        alike = nothing[(where == position).all(-1)]
        torch.testing.assert_close(alike, alike[:1].expand_as(alike))
    assert not torch.allclose(wanting, nothing)


def test_reversed_it_wants_the_opposite() -> None:
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
    judged = RewardMap(SHAPE, 0)
    with routing(judged, table, routes):
        judged(inputs).sum().backward()
    assert inputs.grad is not None
    reached = inputs.grad[:, PLACES:].abs().sum(-1) > 0
    assert not reached[2]
    assert not reached[3]
