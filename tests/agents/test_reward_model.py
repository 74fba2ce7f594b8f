"""Reward sources: the fixed ones, the reward model, and the reward map."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from agents import METHODS, MotivationPolicy, RoutedPPO
from agents.checkpoint import read_state, restore, state_bytes, training_state
from agents.methods import paid
from agents.reward_model import (
    BATCH,
    CAPACITY,
    WHOLE,
    Learner,
    RewardMap,
    RewardMapFeatures,
    RewardModel,
    observed_else_paid,
    observed_else_zero,
    reward_head,
)
from agents.rollout_buffer import HIDDEN, NEGATIVE, Rewards, RewardSource, Step
from oversight.routing import routing
from tests.agents.factories import (
    ROLLOUT,
    assert_same_training,
    probabilities,
    small_agent,
    small_env,
)

NAN = float("nan")

INFOS: list[dict[str, Any]] = [
    {"observed": True, "observed_reward": -1.0},
    {"observed": np.True_, "observed_reward": np.float64(0.5)},
    {"observed": False, "observed_reward": NAN, "true_reward": NAN},
    {},
    {"resetting": True},
]

STEP = Step(None, np.array([9, 9, 1, 0, 0], np.float32), np.zeros(5, np.bool_), INFOS)

LEARNER = Learner(spaces.Box(0, 1, (2,)), 0, "open", None, METHODS["naive"].table, None)


def test_fixed_sources_return_the_observed_reward_and_a_default() -> None:
    assert paid(LEARNER)(STEP).tolist() == [9, 9, 1, 0, 0]
    assert observed_else_paid(LEARNER)(STEP).tolist() == [-1.0, 0.5, 1.0, 0.0, 0.0]
    assert observed_else_zero(LEARNER)(STEP).tolist() == [-1.0, 0.5, 0.0, 0.0, 0.0]
    assert STEP.paid.tolist() == [9, 9, 1, 0, 0]


OBSERVATIONS = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 1]], np.float32)

NEXT = np.full((5, 2), 7, np.float32)


def step_of(*kinds: str) -> Step:
    """Return a step of five lanes, each of which is observed, hidden, cut, or goes on."""
    infos: list[dict[str, Any]] = []
    for lane, kind in enumerate(kinds):
        info = {"terminal_observation": OBSERVATIONS[lane]} if kind != "goes on" else {}
        if kind == "observed":
            info |= {"observed": True, "observed_reward": 1.0 - 2.0 * float(OBSERVATIONS[lane, 1])}
        else:
            info |= {"observed": False, "observed_reward": NAN}
        infos.append(info | {"TimeLimit.truncated": kind == "cut"})
    dones = np.array([kind != "goes on" for kind in kinds])
    return Step(NEXT, np.full(5, 0.5, np.float32), dones, infos)


OBSERVED_STEP = step_of("observed", "observed", "goes on", "goes on", "goes on")

MIXED_STEP = step_of("hidden", "hidden", "cut", "goes on", "observed")


def new_model(seed: int = 0, members: int = 1, **settings: Any) -> RewardModel:  # noqa: ANN401
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = [reward_head(3, WHOLE) for _ in range(members)]
    return RewardModel(networks, 2, seed, **settings)


def fitted_model(members: int = 1, **settings: Any) -> RewardModel:  # noqa: ANN401
    model = new_model(members=members, **settings)
    for _ in range(8):
        model(OBSERVED_STEP)
        model.fit()
    return model


def test_prediction_is_0_before_anything_is_observed() -> None:
    model = new_model()
    model.fit()
    assert model(MIXED_STEP._replace(infos=[{}, {}, {}, {}, {}])).tolist() == [0, 0, 0, 0.5, 0]


def test_model_predicts_what_was_observed_at_the_same_observation() -> None:
    rewards = fitted_model()(MIXED_STEP)
    np.testing.assert_allclose(rewards[:2], [1, -1], atol=0.02)
    assert rewards[2:4].tolist() == [0.5, 0.5]  # a time limit hides no reward
    assert rewards[4] == -1


def test_model_predicts_every_step_when_timeouts_are_hidden() -> None:
    model = fitted_model(timeouts="hidden")
    step = MIXED_STEP._replace(infos=[*MIXED_STEP.infos[:4], {"resetting": True}])
    rewards = model(step)
    assert (rewards[:4] != 0.5).all()
    assert rewards[4] == 0.5


def test_pessimism_lowers_the_mean_by_deviations() -> None:
    model = fitted_model(members=3)
    inputs = torch.randn(6, 3)
    with torch.no_grad():
        each = np.stack([network(inputs).squeeze(-1).numpy() for network in model.networks])
    np.testing.assert_allclose(model.predict(inputs), each.mean(0), atol=1e-6)
    model.pessimism = 2.0
    expected = each.mean(0) - 2 * each.std(0)
    np.testing.assert_allclose(model.predict(inputs), expected, atol=1e-5)
    assert (each.std(0) > 1e-3).any()


def test_model_depends_on_its_seed_and_not_on_the_global_generator() -> None:
    before = torch.get_rng_state()
    models = [fitted_model() for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    inputs = torch.randn(6, 3)
    assert torch.equal(models[0].predict(inputs), models[1].predict(inputs))
    assert not torch.equal(models[0].predict(inputs), new_model(1).predict(inputs))


def test_oldest_steps_are_overwritten_at_capacity() -> None:
    model = new_model()
    for _ in range(CAPACITY // 2 + 1):
        model(OBSERVED_STEP)
    assert model.seen == CAPACITY + 2
    assert model.inputs.shape == (CAPACITY, 3)
    assert model.rewards.abs().sum() == CAPACITY


def test_model_goes_on_from_its_state() -> None:
    whole, other = fitted_model(members=2), new_model(9, members=2)
    other.set_state(deepcopy(whole.get_state()))
    for model in (whole, other):
        model(MIXED_STEP)
        model.fit()
    inputs = torch.randn(6, 3)
    assert torch.equal(whole.predict(inputs), other.predict(inputs))


def test_saved_agents_omit_the_reward_model(tmp_path: Path) -> None:
    small_agent("imputed").learn(ROLLOUT).save(tmp_path / "agent.zip")
    assert (tmp_path / "agent.zip").stat().st_size < CAPACITY * 101
    loaded = RoutedPPO.load(tmp_path / "agent.zip", device="cpu")
    assert isinstance(loaded.reward_source, RewardModel)
    assert loaded.reward_source.seen == 0


@pytest.mark.parametrize("method", ["imputed", "pessimistic"])
def test_agent_learns_from_predictions_and_resumes(method: str, tmp_path: Path) -> None:
    whole = small_agent(method).learn(2 * ROLLOUT)
    buffer = whole.rollout_buffer
    guessed = buffer.rewards[buffer.last_route == HIDDEN]
    assert len(set(guessed.tolist())) > 5
    assert (buffer.rewards[buffer.last_route == NEGATIVE] == -1).all()
    (tmp_path / "checkpoint.pt").write_bytes(state_bytes(training_state(whole)))
    whole.learn(2 * ROLLOUT, reset_num_timesteps=False)
    resumed = small_agent(method)
    restore(resumed, read_state(tmp_path / "checkpoint.pt"))
    resumed.learn(2 * ROLLOUT, reset_num_timesteps=False)
    assert_same_training(resumed, whole)
    assert isinstance(resumed.reward_source, RewardModel)
    assert isinstance(whole.reward_source, RewardModel)
    assert torch.equal(resumed.reward_source.rewards, whole.reward_source.rewards)


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


@pytest.mark.parametrize(
    ("inputs", "steps"), [(100, CAPACITY), (2047, CAPACITY), (84 * 84 * 3, 792), (70_000, BATCH)]
)
def test_fewer_steps_of_large_observations_are_remembered(inputs: int, steps: int) -> None:
    model = RewardModel([reward_head(1, (1,))], inputs, 0)
    assert model.inputs.shape == (steps, inputs + 1)
