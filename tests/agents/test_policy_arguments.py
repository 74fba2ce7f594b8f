"""Arguments of a policy's network, in SB3's words: passed on, or refused with the reason."""

from typing import Any

import pytest
import torch
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from torch import Tensor, nn

from agents import MotivationPolicy, RoutedPPO
from tests.agents.factories import (
    ROLLOUT,
    assert_same_training,
    small_agent,
    small_env,
    weights,
)


def trained(method: str = "routed", **policy_kwargs: Any) -> RoutedPPO:  # noqa: ANN401
    return small_agent(method, policy_kwargs=policy_kwargs).learn(ROLLOUT)


def policy_of(agent: RoutedPPO) -> MotivationPolicy:
    assert isinstance(agent.policy, MotivationPolicy)
    return agent.policy


def widths(network: nn.Module) -> list[int]:
    return [each.out_features for each in network.modules() if isinstance(each, nn.Linear)]


def test_net_arch_is_another_name_for_hidden_sizes() -> None:
    ours = trained(hidden_sizes=(16, 8))
    for net_arch in ([16, 8], {"pi": [16, 8], "vf": [16, 8]}, [{"pi": [16, 8], "vf": [16, 8]}]):
        assert_same_training(trained(net_arch=net_arch), ours)


def test_net_arch_gives_the_critic_widths_of_its_own(tmp_path: Any) -> None:  # noqa: ANN401
    agent = trained(net_arch={"pi": [16, 8], "vf": [7]})
    net = policy_of(agent).net
    assert [widths(each) for each in net.experts.values()] == [[16, 8]] * 2
    assert widths(net.critic) == [7]
    agent.save(tmp_path / "agent")
    loaded = RoutedPPO.load(tmp_path / "agent", device="cpu")
    assert widths(policy_of(loaded).alone("goal").net.critic) == [7]


def test_activation_follows_each_hidden_layer() -> None:
    net = policy_of(trained(activation_fn=nn.Tanh)).alone("goal").net
    kinds = {type(each) for each in net.modules() if not list(each.children())}
    assert nn.Tanh in kinds
    assert nn.ReLU not in kinds


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.AdamW])
@pytest.mark.parametrize("method", ["routed", "reward-map"])
def test_agent_learns_by_any_optimizer(optimizer: Any, method: str) -> None:  # noqa: ANN401
    agent = small_agent(method, policy_kwargs={"optimizer_class": optimizer})
    before = weights(agent.policy)
    assert type(agent.learn(ROLLOUT).policy.optimizer) is optimizer
    assert any(not torch.equal(tensor, before[n]) for n, tensor in weights(agent.policy).items())


def test_weight_decay_holds_for_every_target() -> None:
    agent = small_agent(policy_kwargs={"optimizer_kwargs": {"weight_decay": 0.5}})
    assert {group["weight_decay"] for group in agent.policy.optimizer.param_groups} == {0.5}


class Narrow(FlattenExtractor):
    """Shows the first features only."""

    def forward(self, observations: Tensor) -> Tensor:
        """Return [batch, features]."""
        return super().forward(observations)


@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        ({"net_arch": []}, r"net_arch must be positive widths.*got \[\]"),
        ({"net_arch": [8, 0]}, "net_arch must be positive widths"),
        ({"net_arch": [True]}, "net_arch must be positive widths"),
        ({"net_arch": "64"}, "net_arch must be positive widths"),
        ({"net_arch": {"pi": [8]}}, "net_arch must name the widths of pi and of vf"),
        ({"net_arch": {"pi": [8], "vf": 8}}, r"net_arch\['vf'\] must be positive widths"),
        ({"net_arch": [8], "hidden_sizes": (8,)}, "two names"),
        ({"hidden_sizes": 8}, "hidden_sizes must be positive widths"),
        ({"activation_fn": "tanh"}, "activation_fn must be a class of .*Module, got 'tanh'"),
        ({"optimizer_class": "sgd"}, "optimizer_class must be a class of .*Optimizer"),
        ({"optimizer_class": torch.optim.LBFGS}, "LBFGS does not take"),
        (
            {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": {"eps": 1e-5}},
            "SGD does not take.*'eps'",
        ),
        ({"share_features_extractor": False}, "share_features_extractor=False.*leave it out"),
        ({"features_extractor_class": "cnn"}, "features_extractor_class must be a class"),
        ({"use_sde": True}, "use_sde, which RoutedPPO gives"),
        ({"squash_output": True}, "leave squash_output out"),
        ({"full_std": False}, "leave full_std out"),
        ({"use_expln": True}, "leave use_expln out"),
        ({"normalize_images": "no"}, "normalize_images must be True or False, got 'no'"),
        ({"ortho_init": "x"}, "ortho_init must be True or False, got 'x'"),
        ({"share_features_extractor": 0}, "share_features_extractor must be True or False"),
        ({"squash_output": "yes"}, "squash_output must be True or False, got 'yes'"),
        ({"trunk": "no"}, "trunk must be True or False, got 'no'"),
        ({"has_reward_map": 1}, "has_reward_map must be True or False, got 1"),
        ({"agent_channel": -1}, "agent_channel -1 was given: give a whole number, 0 or more"),
        ({"masked_channels": 3}, r"masked_channels must be a tuple of channels.*got 3"),
        ({"masked_channels": "3"}, r"masked_channels must be a tuple of channels.*got '3'"),
        ({"masked_channels": (0.5,)}, r"masked_channels must be a tuple of channels.*0.5"),
        ({"log_std_init": "a"}, "log_std_init 'a' was given: give a finite number"),
        ({"log_std_init": float("nan")}, "log_std_init nan was given: give a finite number"),
        ({"observation_space": 1}, "observation_space, which RoutedPPO gives"),
        ({"action_space": 1}, "action_space, which RoutedPPO gives"),
        ({"lr_schedule": 1}, "lr_schedule, which RoutedPPO gives"),
        ({"foo": 1}, "policy_kwargs .* do not fit what they build: .*argument 'foo'"),
        ({"features_extractor_class": None}, "features_extractor_class must be a class"),
        (
            {"features_extractor_kwargs": {"features_dim": 3}},
            "do not fit what they build: .*'features_dim'",
        ),
        ({"features_extractor_kwargs": [3]}, "features_extractor_kwargs must be a dictionary"),
        ({"features_extractor_class": CombinedExtractor}, "do not fit what they build: .*spaces"),
        ({"optimizer_class": torch.optim.SparseAdam}, "SparseAdam was given.*use Adam"),
        ({"optimizer_class": None}, "optimizer_class must be a class of .*Optimizer, got None"),
        ({"optimizer_kwargs": {"lr": 1.0}}, "optimizer_kwargs name lr, which is learning_rate"),
        ({"optimizer_kwargs": "fast"}, "optimizer_kwargs must be a dictionary"),
        ([1], r"policy_kwargs must be a dictionary of arguments by name.*got \[1\]"),
        ({1: 2}, "policy_kwargs must be a dictionary of arguments by name"),
        ({"modules": "goal"}, "one or two motivation modules have names"),
        ({"modules": ("a.b",)}, "one or two motivation modules have names"),
        ({"mixture": "half"}, "mixture must be learned or fixed, got 'half'"),
    ],
    ids=str,
)
def test_policy_refuses_arguments_in_one_line(policy_kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        small_agent(policy_kwargs=policy_kwargs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        ({"ortho_init": "x"}, "ortho_init must be True or False, got 'x'"),
        ({"log_std_init": float("nan")}, "log_std_init nan was given: give a finite number"),
        ({"optimizer_class": torch.optim.SparseAdam}, "SparseAdam was given.*use Adam"),
        ({"foo": 1}, "do not fit what they build: .*argument 'foo'"),
    ],
    ids=str,
)
def test_policies_of_sb3_refuse_the_same(policy_kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RoutedPPO("MlpPolicy", small_env("naive", 2), "naive", policy_kwargs=policy_kwargs)


def test_policy_with_a_reward_map_refuses_other_features() -> None:
    for given in ({"class": Narrow}, {"kwargs": {"features_dim": 3}}):
        policy_kwargs = {f"features_extractor_{name}": value for name, value in given.items()}
        with pytest.raises(ValueError, match="reads its scores: leave them out"):
            small_agent("reward-map", policy_kwargs=policy_kwargs)
