"""RoutedPPO: its equality with SB3's PPO, its options, its refusals, and SB3's interfaces."""

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor

from agents import METHODS, Method, MotivationPolicy, RoutedPPO, VectorEnvAdapter, method
from agents.losses import AdvantageNormalization, normalized
from agents.network import Network
from agents.ppo import CHOICES, PPOConfig
from agents.rollout_buffer import HIDDEN, NEGATIVE, OPEN, POSITIVE, ROUTES
from envs import (
    partial_grid_vec,
)
from oversight.rl.agent import make_learner
from oversight.routing import RouteTable
from tests.agents.factories import (
    CORRIDOR,
    ROLLOUT,
    SETTINGS,
    Corridor,
    OneStep,
    assert_same_training,
    probabilities,
    remove_gates,
    small_agent,
    small_env,
    weights,
)
from tests.agents.gradients import exact_agent, gradients, rollout

ONES = Method(
    name="ones",
    summary="a table of ones over a target that no gate has",
    reward="observed",
    table=RouteTable({route: {"anything": 1.0} for route in ROUTES}),
    network=Network(modules=("anything",)),
)


def grid_lanes() -> VecEnv:
    return VectorEnvAdapter(small_env(lanes=8))


def sb3_lanes(name: str) -> Callable[[], VecEnv]:
    return lambda: DummyVecEnv([lambda: gym.make(name)] * 4)


CASES: dict[str, tuple[Callable[[], VecEnv], dict[str, Any]]] = {
    "native lanes": (grid_lanes, {"ent_coef": 0.01}),
    "CartPole": (sb3_lanes("CartPole-v1"), {}),
    "clipped values": (sb3_lanes("CartPole-v1"), {"clip_range_vf": 0.05}),
    "early stop": (sb3_lanes("CartPole-v1"), {"target_kl": 2e-4, "learning_rate": 3e-3}),
    "raw advantages": (sb3_lanes("CartPole-v1"), {"normalize_advantage": False}),
    "falling rates": (
        grid_lanes,
        {"learning_rate": lambda x: 1e-3 * x, "clip_range": lambda x: x / 5},
    ),
    "Pendulum": (sb3_lanes("Pendulum-v1"), {"normalize_advantage": False, "ent_coef": 0.01}),
    "Pendulum, exploring by state": (sb3_lanes("Pendulum-v1"), {"use_sde": True}),
}


def train_rollouts(agent: PPO) -> PPO:
    return agent.learn(3 * agent.n_steps * agent.n_envs)


@pytest.mark.parametrize(
    "method", [METHODS["naive"], METHODS["unrouted"], ONES], ids=attrgetter("name")
)
def test_training_equals_sb3_when_the_table_is_all_ones(method: Method) -> None:
    shared: dict[str, Any] = {"n_steps": 32, "batch_size": 64, "seed": 5, "device": "cpu"}
    stock = train_rollouts(PPO("MlpPolicy", grid_lanes(), **shared))
    assert_same_training(
        train_rollouts(RoutedPPO("MlpPolicy", grid_lanes(), method, **shared)), stock
    )


@pytest.mark.filterwarnings("ignore:no info of the environment")
@pytest.mark.parametrize("case", CASES)
def test_training_equals_sb3_for_each_setting(case: str) -> None:
    make, settings = CASES[case]
    shared: dict[str, Any] = {"n_steps": 64, "batch_size": 64, "n_epochs": 3, "seed": 3}
    settings = {**shared, **settings, "device": "cpu"}
    stock = train_rollouts(PPO("MlpPolicy", make(), **settings))
    routed = train_rollouts(RoutedPPO("MlpPolicy", make(), "naive", **settings))
    assert_same_training(routed, stock)
    assert routed._n_updates == stock._n_updates
    if "target_kl" in settings:
        assert stock._n_updates < 3 * settings["n_epochs"]


@pytest.mark.parametrize(("kl", "epochs"), [(0.149, 2), (0.151, 1)])
def test_epoch_stops_at_one_and_a_half_times_target_kl(
    kl: float, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.losses.approximate_kl", lambda _: torch.tensor(kl))
    agent = small_agent(target_kl=0.1).learn(ROLLOUT)
    assert agent._n_updates == epochs
    assert bool(agent.policy.optimizer.state) == (epochs == 2)


def test_gates_of_weight_one_change_nothing() -> None:
    # one after the other: SB3 draws actions from the global generator, seeded on construction
    routed = small_agent("unrouted", mixture_coef=0.0).learn(3 * ROLLOUT)
    env = VectorEnvAdapter(small_env("unrouted"))
    stock = PPO(MotivationPolicy, env, **SETTINGS)
    remove_gates(stock.policy)
    assert_same_training(routed, stock.learn(3 * ROLLOUT))


def test_training_is_independent_of_the_global_numpy_generator() -> None:
    class Draw(BaseCallback):
        def _on_step(self) -> bool:
            np.random.rand()  # noqa: NPY002
            return True

    assert_same_training(
        small_agent().learn(ROLLOUT, callback=Draw()), small_agent().learn(ROLLOUT)
    )


def test_parameters_differ_when_the_seed_differs() -> None:
    one, other = (weights(small_agent(seed=seed).learn(ROLLOUT).policy) for seed in (0, 1))
    differing = [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
    assert len(differing) == len(one)


def test_settings_reach_sb3() -> None:
    agent = small_agent(gamma=0.5, gae_lambda=0.25, vf_coef=0.125, max_grad_norm=0.75)
    assert isinstance(agent, PPO)
    assert (agent.rollout_buffer.gamma, agent.rollout_buffer.gae_lambda) == (0.5, 0.25)
    assert (agent.vf_coef, agent.max_grad_norm) == (0.125, 0.75)


def test_environment_may_be_an_id() -> None:
    settings: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "device": "cpu"}
    agent = RoutedPPO("MotivationPolicy", "PartialGrid-v0", **settings).learn(16)
    assert agent.method is METHODS["routed"]
    assert agent.n_envs == 1
    agent = RoutedPPO(env=small_env(), **settings)
    assert agent.n_envs == 32


def expert(agent: RoutedPPO, name: str) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Return copies of a module's parameters and of its optimizer's state."""
    prefix = f"mlp_extractor.experts.{name}."
    own = {key: tensor for key, tensor in weights(agent.policy).items() if key.startswith(prefix)}
    parameters = [p for key, p in agent.policy.named_parameters() if key.startswith(prefix)]
    state = agent.policy.optimizer.state
    return own, [{key: value.clone() for key, value in state[p].items()} for p in parameters]


def one_step_envs(observed: bool) -> DummyVecEnv:
    return DummyVecEnv([lambda: OneStep(observed)] * 8)


@pytest.mark.parametrize(
    "settings", [{}, {"policy_kwargs": {"optimizer_class": torch.optim.AdamW}}], ids=str
)
def test_hidden_episodes_leave_the_goal_module_unchanged(settings: dict[str, Any]) -> None:
    agent = small_agent("routed", one_step_envs(observed=True), batch_size=128, **settings)
    agent.learn(512)  # leaves momentum behind
    before, state = expert(agent, "goal")
    assert all(entry["exp_avg"].any() for entry in state)
    proxy, _ = expert(agent, "proxy")
    agent.set_env(one_step_envs(observed=False))
    agent.learn(1024)
    assert set(rollout(agent).routes.tolist()) == {HIDDEN}
    after, later = expert(agent, "goal")
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    for entry, other in zip(state, later, strict=True):
        for key, tensor in entry.items():
            assert torch.equal(tensor, other[key]), key
    assert any(not torch.equal(t, expert(agent, "proxy")[0][n]) for n, t in proxy.items())


def test_hidden_episodes_leave_all_unchanged_when_filtered() -> None:
    agent = small_agent("filtered", one_step_envs(observed=True), batch_size=128).learn(512)
    before = weights(agent.policy)
    agent.set_env(one_step_envs(observed=False))
    agent.learn(512)
    for name, tensor in weights(agent.policy).items():
        assert torch.equal(tensor, before[name]), name


def test_observed_episodes_are_learned() -> None:
    agent = small_agent("routed", one_step_envs(observed=True), batch_size=128, n_epochs=10)
    agent.learn(8 * 32 * 12)
    chances = probabilities(agent.deployed(), rollout(agent).observations)
    assert chances[:, 0].mean() > 0.9


def test_gates_are_cleared_when_an_update_fails() -> None:
    agent = small_agent().learn(1024)
    agent.rollout_buffer.advantages[:] = 0
    agent.clip_range = lambda _: 1 / 0
    with pytest.raises(ZeroDivisionError):
        agent.train()
    with torch.no_grad():
        agent.policy.evaluate_actions(rollout(agent).observations, torch.zeros(1024))
    agent.clip_range = lambda _: 0.2
    agent.train()


@pytest.mark.parametrize("over", ["all", "observed", "route"])
def test_training_normalizes_advantages_as_chosen(over: AdvantageNormalization) -> None:
    normalizing, reference = exact_agent("routed"), exact_agent("routed")
    normalizing.advantage_normalization, reference.advantage_normalization = over, "none"
    buffer = reference.rollout_buffer
    flat = torch.from_numpy(buffer.advantages).double().flatten()
    routes = torch.from_numpy(buffer.routes()).flatten()
    buffer.advantages = normalized(flat, routes, over).reshape(buffer.advantages.shape).numpy()
    expected = gradients(reference)
    for name, grad in gradients(normalizing).items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def norm(grads: list[Tensor]) -> float:
    return float(torch.stack([grad.square().sum() for grad in grads]).sum().sqrt())


@pytest.mark.parametrize("clipping", ["global", "target"])
def test_gradient_norms_are_bounded_as_chosen(clipping: Any) -> None:  # noqa: ANN401
    agent, free = exact_agent("routed"), gradients(exact_agent("routed"))
    agent.gradient_clipping, agent.max_grad_norm = clipping, 0.04
    groups = {
        group["target"]: [
            n for n, p in agent.policy.named_parameters() if is_among(p, group["params"])
        ]
        for group in agent.policy.optimizer.param_groups
    }
    assert set(groups) == {"goal", "proxy", "mixture", "shared"}
    parts = [list(free)] if clipping == "global" else list(groups.values())
    sizes = [norm([free[name] for name in part]) for part in parts]
    assert max(sizes) > 0.04
    if clipping == "target":
        assert min(sizes) < 0.04  # one is small enough to stay unchanged
    clipped = gradients(agent)
    for part, size in zip(parts, sizes, strict=True):
        for name in part:
            expected = free[name] * min(1.0, 0.04 / (size + 1e-6))
            torch.testing.assert_close(clipped[name], expected, rtol=1e-5, atol=1e-9, msg=name)


def is_among(parameter: Tensor, parameters: list[Tensor]) -> bool:
    return any(parameter is other for other in parameters)


@pytest.mark.parametrize(
    ("bootstrap", "paid"),
    [("always", [4.5, 4.5, 4.5]), ("observed", [4.5, 4.5, 0.0]), ("never", [0.0, 0.0, 0.0])],
)
def test_time_limits_are_bootstrapped_as_chosen(bootstrap: Any, paid: list[float]) -> None:  # noqa: ANN401
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


@pytest.mark.filterwarnings("ignore:no info of the environment")
@pytest.mark.parametrize("bootstrap", ["observed", "never"])
def test_bootstrap_can_be_turned_off_when_the_environment_is_sb3s(bootstrap: Any) -> None:  # noqa: ANN401
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


def test_normalize_advantage_must_agree_with_the_choice() -> None:
    for kwargs in ({"advantage_normalization": "none"}, {"normalize_advantage": False}):
        assert not small_agent(**kwargs).normalize_advantage
    with pytest.raises(ValueError, match=r"normalize_advantage=False turns .*'route' off"):
        small_agent(normalize_advantage=False, advantage_normalization="route")


def test_loaded_agent_keeps_its_options(tmp_path: Any) -> None:  # noqa: ANN401
    agent = small_agent(bootstrap="never", gradient_clipping="target", timeouts="hidden")
    agent.save(tmp_path / "agent")
    loaded = RoutedPPO.load(tmp_path / "agent", env=small_env())
    assert (loaded.bootstrap, loaded.gradient_clipping) == ("never", "target")
    assert (loaded.rollout_buffer.outcomes.unfinished() == HIDDEN).all()


@pytest.fixture(scope="module")
def agent() -> RoutedPPO:
    return small_agent().learn(2 * ROLLOUT)


def test_evaluate_policy_accepts_the_deployed_policy(agent: RoutedPPO) -> None:
    env = VectorEnvAdapter(partial_grid_vec(16, oversight_probability=1.0, horizon=12))
    env.seed(7)
    rewards, lengths = evaluate_policy(
        agent.deployed(), env, n_eval_episodes=32, return_episode_rewards=True, warn=False
    )
    assert isinstance(rewards, list)
    assert isinstance(lengths, list)
    assert len(rewards) == 32
    assert set(rewards) <= {-1.0, 0.0, 1.0}
    assert max(lengths) <= 12


def test_loaded_agent_acts_the_same_and_trains_on(agent: RoutedPPO, tmp_path: Path) -> None:
    agent.save(tmp_path / "agent")
    loaded = RoutedPPO.load(tmp_path / "agent", env=VectorEnvAdapter(small_env()), device="cpu")
    assert loaded.method == agent.method
    assert loaded.mixture_coef == agent.mixture_coef
    assert_same_training(loaded, agent)
    observations, _ = small_env().reset(seed=5)
    np.testing.assert_array_equal(
        loaded.predict(observations, deterministic=True)[0],
        agent.predict(observations, deterministic=True)[0],
    )
    before = weights(loaded.policy)
    loaded.learn(ROLLOUT, reset_num_timesteps=False)
    assert loaded.num_timesteps == agent.num_timesteps + ROLLOUT
    assert any(not torch.equal(t, before[n]) for n, t in weights(loaded.policy).items())


def test_agent_loads_without_an_environment(agent: RoutedPPO, tmp_path: Path) -> None:
    agent.save(tmp_path / "agent")
    loaded = RoutedPPO.load(tmp_path / "agent", device="cpu")
    for name, tensor in loaded.deployed().state_dict().items():
        assert torch.equal(tensor, agent.policy.state_dict()[name])


def test_callbacks_of_sb3_work(tmp_path: Path) -> None:
    evaluation = VectorEnvAdapter(small_env(lanes=8))
    checkpoint = CheckpointCallback(save_freq=32, save_path=str(tmp_path))
    evaluate = EvalCallback(evaluation, eval_freq=32, n_eval_episodes=8, verbose=0, warn=False)
    agent = small_agent().learn(2 * ROLLOUT, callback=[checkpoint, evaluate])
    saved = sorted(path.name for path in tmp_path.iterdir())
    assert saved == [f"rl_model_{ROLLOUT * n}_steps.zip" for n in (1, 2)]
    assert agent.num_timesteps == 2 * ROLLOUT
    named = ("policy_gradient_loss", "value_loss", "entropy_loss", "mixture_loss", "approx_kl")
    assert {f"train/{name}" for name in named} <= agent.logger.name_to_value.keys()
    assert agent.ep_info_buffer
    assert set(agent.ep_info_buffer[0]) == {"r", "l"}
    assert -1 <= evaluate.last_mean_reward <= 1


def test_callback_can_stop_within_a_rollout() -> None:
    agent = small_agent().learn(10 * ROLLOUT, callback=lambda local, _: local["n_steps"] < 5)
    assert agent.num_timesteps == 6 * 32
    assert agent._n_updates == 0


def test_agent_refuses_a_batch_larger_than_a_rollout() -> None:
    message = r"batch_size 2048 is larger.*32 steps x 32 environments = 1024"
    with (
        pytest.warns(UserWarning, match="truncated mini-batch"),  # SB3's, on the way there
        pytest.raises(ValueError, match=message),
    ):
        small_agent(batch_size=2048)


def test_agent_refuses_a_policy_without_gates_when_it_routes() -> None:
    for name in ("routed", "paper", "filtered"):
        with pytest.raises(ValueError, match=f"no gates, so method '{name}'"):
            RoutedPPO("MlpPolicy", small_env(), name, n_steps=32, batch_size=256, device="cpu")


def test_agent_refuses_a_policy_without_the_reward_map_it_learns_from() -> None:
    with pytest.raises(ValueError, match="no reward map, from which method 'reward-map-unrouted'"):
        RoutedPPO("MlpPolicy", small_env(), "reward-map-unrouted", n_steps=8, batch_size=64)


@pytest.mark.parametrize("name", [each.name for each in METHODS.values() if each.needs_propensity])
def test_agent_refuses_a_missing_or_impossible_propensity(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' needs the probability"):
        small_agent(name, propensity=None)
    for bad in (0.0, 1.5, float("nan")):
        for act in (lambda bad: small_agent(name, propensity=bad), refuse_propensity):
            with pytest.raises(
                ValueError, match=f"propensity {bad} was given: give a number above 0"
            ):
                act(bad)


def refuse_propensity(bad: float) -> None:
    PPOConfig(propensity=bad)
