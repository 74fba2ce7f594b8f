"""The options of the learner against closed forms: what touches what, and what does not."""

from dataclasses import replace
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from agents import RoutedPPO, losses, method
from agents.config import CHOICES, AdvantageNormalization, PPOConfig
from agents.losses import normalized
from agents.rollout_buffer import HIDDEN, NEGATIVE, OPEN, POSITIVE
from oversight.rl.config import TrainConfig, make_learner
from tests.agents.corridor import CORRIDOR, Corridor
from tests.agents.exact import exact_agent, gradients, rollout
from tests.agents.small import small_agent, small_env

ROUTES = torch.tensor([POSITIVE, NEGATIVE, NEGATIVE, HIDDEN, HIDDEN, HIDDEN, OPEN])
SEEN = ROUTES <= NEGATIVE
VALUES = torch.tensor([1.0, -2.0, 4.0, 10.0, 30.0, 20.0, 7.0], dtype=torch.float64)


def test_over_all_is_what_sb3_does() -> None:
    assert torch.equal(normalized(VALUES, ROUTES, "all"), losses.normalize(VALUES))
    assert torch.equal(normalized(VALUES, ROUTES, "none"), VALUES)


def test_over_the_observed_ones() -> None:
    # 1, -2 and 4 have mean 1 and deviation 3
    torch.testing.assert_close(normalized(VALUES, ROUTES, "observed"), (VALUES - 1) / 3)


def test_over_each_route() -> None:
    # the deviation of -2 and 4 is 3 * sqrt(2); the only diamond and the only open one stay
    half = 0.5**0.5
    expected = torch.tensor([1.0, -half, half, -1.0, 1.0, 0.0, 7.0], dtype=torch.float64)
    torch.testing.assert_close(normalized(VALUES, ROUTES, "route"), expected)


@pytest.mark.parametrize(
    ("over", "coupled"), [("all", True), ("observed", False), ("route", False)]
)
def test_hidden_samples_move_observed_ones_only_if_asked(
    over: AdvantageNormalization, coupled: bool
) -> None:
    other = torch.where(SEEN, VALUES, -1e9)
    pair = [normalized(values, ROUTES, over)[SEEN] for values in (VALUES, other)]
    assert torch.equal(*pair) != coupled


@pytest.mark.parametrize(("over", "coupled"), [("all", True), ("observed", True), ("route", False)])
def test_a_hidden_sample_without_advantage_is_pushed_by_observed_ones(
    over: AdvantageNormalization, coupled: bool
) -> None:
    nothing = torch.where(SEEN, VALUES, 0.0)
    assert bool(normalized(nothing, ROUTES, over)[ROUTES == HIDDEN].any()) == coupled


@pytest.mark.parametrize(
    "routes", [[HIDDEN, HIDDEN, HIDDEN], [HIDDEN, NEGATIVE, OPEN]], ids=["none observed", "one"]
)
def test_without_a_scale_advantages_stay(routes: list[int]) -> None:
    advantages = torch.tensor([1.0, 2.0, 9.0])
    assert torch.equal(normalized(advantages, torch.tensor(routes), "observed"), advantages)


def test_without_a_spread_nothing_explodes() -> None:
    advantages, routes = torch.tensor([0.1, 0.1, 3.0]), torch.tensor([NEGATIVE, POSITIVE, HIDDEN])
    assert torch.equal(normalized(advantages, routes, "observed"), advantages)
    same = torch.tensor([0.5, 0.5, 3.0])
    expected = torch.tensor([0.0, 0.0, 3.0])
    assert torch.equal(
        normalized(same, torch.tensor([NEGATIVE, NEGATIVE, HIDDEN]), "route"), expected
    )


@pytest.mark.parametrize("over", ["all", "observed", "route"])
def test_training_normalizes_as_told(over: AdvantageNormalization) -> None:
    told, before = exact_agent("routed"), exact_agent("routed")
    told.advantage_normalization, before.advantage_normalization = over, "none"
    buffer = before.rollout_buffer
    flat = torch.from_numpy(buffer.advantages).double().flatten()
    routes = torch.from_numpy(buffer.routes()).flatten()
    buffer.advantages = normalized(flat, routes, over).reshape(buffer.advantages.shape).numpy()
    expected = gradients(before)
    for name, grad in gradients(told).items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def norm(grads: list[Tensor]) -> float:
    return float(torch.stack([grad.square().sum() for grad in grads]).sum().sqrt())


@pytest.mark.parametrize("clipping", ["global", "target"])
def test_each_norm_is_bounded_as_told(clipping: Any) -> None:  # noqa: ANN401
    agent, free = exact_agent("routed"), gradients(exact_agent("routed"))
    agent.gradient_clipping, agent.max_grad_norm = clipping, 0.04
    groups = {
        group["target"]: [n for n, p in agent.policy.named_parameters() if _in(p, group["params"])]
        for group in agent.policy.optimizer.param_groups
    }
    assert set(groups) == {"goal", "proxy", "mixture", "shared"}
    parts = [list(free)] if clipping == "global" else list(groups.values())
    sizes = [norm([free[name] for name in part]) for part in parts]
    assert max(sizes) > 0.04
    if clipping == "target":
        assert min(sizes) < 0.04  # one is small enough, and so is not to change
    clipped = gradients(agent)
    for part, size in zip(parts, sizes, strict=True):
        for name in part:
            expected = free[name] * min(1.0, 0.04 / (size + 1e-6))
            torch.testing.assert_close(clipped[name], expected, rtol=1e-5, atol=1e-9, msg=name)


def _in(parameter: Tensor, parameters: list[Tensor]) -> bool:
    return any(parameter is other for other in parameters)


@pytest.mark.parametrize(
    ("bootstrap", "paid"),
    [("always", [4.5, 4.5, 4.5]), ("observed", [4.5, 4.5, 0.0]), ("never", [0.0, 0.0, 0.0])],
)
def test_a_time_limit_is_bootstrapped_as_told(bootstrap: Any, paid: list[float]) -> None:  # noqa: ANN401
    agent = small_agent(
        env=Corridor(3), n_steps=CORRIDOR, batch_size=CORRIDOR, gamma=0.9, bootstrap=bootstrap
    )
    for parameter in agent.policy.value_net.parameters():
        torch.nn.init.constant_(parameter, 5.0 if parameter.ndim == 1 else 0.0)
    agent.learn(3 * CORRIDOR)
    rewards = agent.rollout_buffer.rewards
    np.testing.assert_allclose(rewards[-1], paid, rtol=1e-6)
    np.testing.assert_array_equal(rewards[0], [1.0, -1.0, 0.0])
    assert not rewards[1:-1].any()


@pytest.mark.parametrize("bootstrap", ["observed", "never"])
def test_bootstrapping_can_be_turned_off_in_environments_of_sb3(bootstrap: Any) -> None:  # noqa: ANN401
    env = DummyVecEnv([lambda: gym.make("CartPole-v1", max_episode_steps=5)])
    agent = small_agent(env=env, batch_size=32, bootstrap=bootstrap).learn(32)
    assert (agent.rollout_buffer.last_route == OPEN).sum() == 6
    assert (agent.rollout_buffer.rewards == 1.0).all()


def test_options_reach_the_learner() -> None:
    ppo = replace(
        PPOConfig(n_steps=8, batch_size=32),
        timeouts="hidden",
        advantage_normalization="none",
        gradient_clipping="target",
        bootstrap="never",
    )
    agent = make_learner(small_env(lanes=4), method("routed"), ppo, seed=0, device="cpu")
    chosen = {name: getattr(agent, name) for name in CHOICES if name != "timeouts"}
    assert chosen == {name: getattr(ppo, name) for name in chosen}
    assert not agent.normalize_advantage
    agent.learn(32)
    assert (agent.rollout_buffer.routes()[-1] != OPEN).all()
    assert set(rollout(agent).routes.tolist()) <= {POSITIVE, NEGATIVE, HIDDEN}


@pytest.mark.parametrize("name", CHOICES)
def test_options_have_no_other_values(name: str) -> None:
    *others, last = get_args(CHOICES[name])
    message = f"{name} must be {', '.join(others)} or {last}, got 'sometimes'"
    bad: dict[str, Any] = {name: "sometimes"}
    for act in (lambda: PPOConfig(**bad), lambda: small_agent(**bad)):
        with pytest.raises(ValueError, match=message):
            act()


def test_two_words_for_one_option_must_agree() -> None:
    for kwargs in ({"advantage_normalization": "none"}, {"normalize_advantage": False}):
        assert not small_agent(**kwargs).normalize_advantage
    with pytest.raises(ValueError, match=r"normalize_advantage=False turns .*'route' off"):
        small_agent(normalize_advantage=False, advantage_normalization="route")


def test_single_samples_are_a_batch_where_nothing_is_normalized() -> None:
    ppo = PPOConfig(batch_size=1, advantage_normalization="none")
    assert TrainConfig(ppo=ppo).ppo.batch_size == 1
    with pytest.raises(ValueError, match="since advantages are normalized"):
        TrainConfig(ppo=replace(ppo, advantage_normalization="route"))


def test_a_loaded_agent_keeps_its_options(tmp_path: Any) -> None:  # noqa: ANN401
    agent = small_agent(bootstrap="never", gradient_clipping="target", timeouts="hidden")
    agent.save(tmp_path / "agent")
    loaded = RoutedPPO.load(tmp_path / "agent", env=small_env())  # type: ignore[arg-type]
    assert (loaded.bootstrap, loaded.gradient_clipping) == ("never", "target")
    assert (loaded.rollout_buffer.outcomes.unfinished() == HIDDEN).all()
