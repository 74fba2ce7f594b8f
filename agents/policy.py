"""The policy: motivation modules below one shared action head, as an SB3 policy.

`MotivationPolicy` puts a gate behind each part, so that a route table can weight its gradients.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    Distribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import obs_as_tensor
from torch import Tensor, nn
from torch.distributions import Normal

from agents.boards import CenteredBoard, ScoreMapFeatures
from agents.features import BoardCNN, default_features, masked_features
from agents.network import Mixture, MotivationNet, Reference, zero_bias
from agents.policy_arguments import (
    channels,
    check_convolutions,
    module_names,
    optimizer_arguments,
    refuse_arguments,
    refuse_with_boards,
    require_class,
    require_truths,
    widths,
)
from agents.reward_map import RewardMap, RewardMapFeatures
from agents.rollout_buffer import Observations
from agents.spaces import from_zero, start_of, to_environment
from oversight.routing import Gate, parameter_groups
from oversight.runs.settings import INDEX, require_number


class MotivationPolicy(ActorCriticPolicy):
    """An actor-critic whose motivation lies in named modules.

    The gates are `goal`, `proxy` (or what `modules` names), `mixture`, and `shared`, which
    guards the action head and the critic. Among discrete actions it samples by the Gumbel trick
    and computes log-probabilities without a distribution object, which is faster than SB3's own
    path and equal to it. Continuous ones are Gaussian as in SB3, and the logarithm of their
    deviation, one for all observations, lies behind `shared` too. So does that of deviations which
    depend on the observation, with `use_sde=True`. Several discrete actions, and switches, have
    SB3's distributions.

    Below the modules lie features: those of `BoardCNN` with `conv_channels`, those of SB3's
    `NatureCNN` for images that are large enough for it, `CombinedFeatures` for a `Dict`, and
    otherwise the observation itself. The parameters of a
    feature extractor belong to the target `shared`, but no gate stands there: they learn from
    every gradient that passes the gates above them, so that a sample that reaches one module
    changes the features on which the other one acts as well. Where that must not be, give
    `features_extractor_class=FlattenExtractor`, which has no parameters.

    Args:
        observation_space: as in SB3.
        action_space: as in SB3. `forward` and `evaluate_actions` count discrete actions from 0 and
            leave continuous ones as they were drawn; `predict` returns those of the space, so that
            it also counts from a `start`, or rounds to integers.
        lr_schedule: as in SB3.
        modules: as for `Network`.
        hidden_sizes: widths of the hidden layers of each part, by default 128 and 128.
        mixture: as for `Network`.
        trunk: as for `Network`.
        masked_channels: channels of an observation, along its first axis, that the modules do not
            see, such as the plane of oversight, or keys of a `Dict`; the mixture and the critic see
            them. An image of which some are masked stays as it is, without a `NatureCNN`.
        has_reward_map: as for `Network`.
        has_reference: as for `Network`.
        score_maps: as for `Network`.
        agent_channel: as for `RewardMap`.
        centered: whether boards are shown centered on the agent, by `CenteredBoard`.
        conv_channels: channels of the convolutions of a `BoardCNN`, for observations that are
            stacks of planes. With a reward map they read what the policy sees of it.
        net_arch: SB3's name for the widths, instead of `hidden_sizes`: a list, or a dictionary that
            gives the critic others under `vf` than all other parts under `pi`.
        activation_fn: class of the activations, of a reward map's head excepted.
        optimizer_class: as in SB3; with Adam or AdamW, `eps` is 1e-5 unless `optimizer_kwargs` are
            given. Their `weight_decay` holds for all parameters.
        **kwargs: as for `ActorCriticPolicy`.

    Raises:
        ValueError: if actions are of another kind, an argument is out of its range or does not
            apply to such a policy, or an observation has no such part.
    """

    def __init__(  # noqa: PLR0913 (SB3 passes flat keyword arguments)
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        modules: Sequence[str] = ("goal", "proxy"),
        hidden_sizes: Sequence[int] | None = None,
        *,
        mixture: Mixture = "learned",
        trunk: bool = False,
        masked_channels: Sequence[int | str] = (),
        has_reward_map: bool = False,
        has_reference: bool = False,
        score_maps: Sequence[str] = (),
        agent_channel: int | None = None,
        centered: bool = False,
        conv_channels: Sequence[int] = (),
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        require_class("activation_fn", activation_fn, nn.Module)
        optimizer_kwargs = optimizer_arguments(optimizer_class, optimizer_kwargs)
        parts = {"has_reward_map": has_reward_map, "has_reference": has_reference}
        require_truths({"trunk": trunk, "centered": centered, **parts})
        if agent_channel is not None:
            require_number("agent_channel", agent_channel, INDEX)
        self.module_names = module_names(modules)
        self.hidden_sizes, self.critic_sizes = widths(hidden_sizes, net_arch)
        self._starts = start_of(observation_space)
        self.mixture: Mixture = mixture
        self.trunk, self.masked_channels = trunk, channels("masked_channels", masked_channels)
        self.has_reward_map, self.agent_channel = has_reward_map, agent_channel
        self.has_reference, self.centered = has_reference, centered
        self.score_maps = module_names(score_maps) if score_maps else ()
        sees_channels = not has_reward_map or agent_channel is None
        masked = self.masked_channels if sees_channels else ()
        self.conv_channels = check_convolutions(conv_channels, masked)
        self._choose_features(observation_space, kwargs)
        kwargs.setdefault("ortho_init", False)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            activation_fn=activation_fn,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            **kwargs,
        )

    def _choose_features(self, space: spaces.Space[Any], kwargs: dict[str, Any]) -> None:
        """Put the class and the arguments of the features into the arguments of SB3's policy."""
        own: type[BaseFeaturesExtractor] | None = None
        arguments: dict[str, Any] = {}
        if self.has_reward_map:
            own = RewardMapFeatures
            arguments = {
                "agent_channel": self.agent_channel,
                "masked_channels": self.masked_channels,
                "conv_channels": self.conv_channels,
            }
        elif self.score_maps:
            own, arguments = ScoreMapFeatures, {"names": self.score_maps}
        elif self.centered:
            own = CenteredBoard
        refuse_arguments(kwargs, own)
        others = {"conv_channels": self.conv_channels, "masked_channels": self.masked_channels}
        refuse_with_boards(self.centered, self.score_maps, self.has_reward_map, others)
        if own is not None:
            chosen = {"features_extractor_class": own, "features_extractor_kwargs": arguments}
            kwargs.update(chosen if arguments else {"features_extractor_class": own})
        elif self.conv_channels:
            if kwargs.setdefault("features_extractor_class", BoardCNN) is not BoardCNN:
                raise ValueError(
                    "conv_channels and features_extractor_class were given, which are two choices "
                    "of the same part: give one of them"
                )
            kwargs["features_extractor_kwargs"] = {"channels": self.conv_channels}
        elif "features_extractor_class" not in kwargs:
            normalized = not kwargs.get("normalize_images", True)
            extractor = default_features(space, normalized, bool(self.masked_channels))
            kwargs["features_extractor_class"] = extractor

    def set_training_mode(self, mode: bool) -> None:
        """Walk through all modules only if the mode changes: `predict` asks for it at each step."""
        if mode != self.training:
            super().set_training_mode(mode)

    def _build_mlp_extractor(self) -> None:
        net = MotivationNet(
            self.features_dim,
            self.module_names,
            self.hidden_sizes,
            self.mixture,
            self.trunk,
            self._masked(),
            critic_sizes=self.critic_sizes,
            activation=self.activation_fn,
        )
        self.mlp_extractor = net  # type: ignore[assignment]

    def _build(self, lr_schedule: Schedule) -> None:
        chosen = self.optimizer_class, self.optimizer_kwargs
        # SB3 builds an optimizer that is replaced below
        self.optimizer_class, self.optimizer_kwargs = torch.optim.SGD, {}
        super()._build(lr_schedule)
        self.optimizer_class, self.optimizer_kwargs = chosen
        for head in ("action_net", "value_net"):
            gated = nn.Sequential(getattr(self, head), Gate("shared")).apply(zero_bias)
            setattr(self, head, gated)
        if isinstance(self.action_space, spaces.Box):
            self.log_std_gate = Gate("shared")
        self.reference: Reference | None = None
        if self.has_reference:
            self.reference = Reference(
                self.make_features_extractor(),
                self.action_space,
                self.hidden_sizes,
                self.activation_fn,
                squashed=self.squash_output,
                log_std_init=self.log_std_init,
            )
        targets = self.targets()
        routed = {parameter for part in targets.values() for parameter in part.parameters()}
        shared = [parameter for parameter in self.parameters() if parameter not in routed]
        decay = self.optimizer_kwargs.get("weight_decay", 0.0)
        groups = parameter_groups(self, {**targets, "shared": shared}, decay)
        try:
            self.optimizer = self.optimizer_class(
                groups,
                lr=lr_schedule(1),  # type: ignore[call-arg]
                **self.optimizer_kwargs,
            )
        except (TypeError, ValueError, RuntimeError) as error:  # of `fused`, on some devices
            raise ValueError(
                f"optimizer_class {self.optimizer_class.__name__} does not take one group of "
                f"parameters for each target, or optimizer_kwargs {self.optimizer_kwargs}: {error}"
            ) from error

    def _masked(self) -> list[int]:
        if self.has_reward_map and self.agent_channel is not None:
            return []  # the modules see no channel as it is
        return masked_features(
            self.masked_channels, self.observation_space, self.features_extractor
        )

    @property
    def reward_map(self) -> RewardMap | None:
        """The motivation module that stands before all the rest, if there is one."""
        extractor = self.features_extractor
        return extractor.reward_map if isinstance(extractor, RewardMapFeatures) else None

    @property
    def motivations(self) -> tuple[str, ...]:
        """The names of the parts of which each alone can act: score maps, or else modules."""
        return self.score_maps or self.module_names

    @property
    def net(self) -> MotivationNet:
        """The network below the heads."""
        assert isinstance(self.mlp_extractor, MotivationNet)
        return self.mlp_extractor

    def targets(self) -> dict[str, nn.Module]:
        """Return the module of each target but `shared`, which is all the rest."""
        mixture = {} if self.net.mixture is None else {"mixture": self.net.mixture}
        trunk = {} if self.net.trunk is None else {"competence": self.net.trunk}
        motivation = {} if self.reward_map is None else {"motivation": self.reward_map}
        reference = {} if self.reference is None else {"reference": self.reference}
        parts = {**mixture, **trunk, **motivation, **reference}
        if isinstance(self.features_extractor, ScoreMapFeatures):
            parts |= dict(self.features_extractor.maps.items())
        return {**dict(self.net.experts.items()), **parts}

    def forward(
        self, obs: Observations, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return an action for each observation, its value and its log-probability."""
        if not isinstance(self.action_space, spaces.Discrete):
            return super().forward(obs, deterministic)  # type: ignore[arg-type]
        features = self._features(obs)
        logits = self.action_net(self.net.forward_actor(features))
        actions = _choose(logits, deterministic)
        log_prob = F.log_softmax(logits, -1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        return actions, self.value_net(self.net.forward_critic(features)), log_prob

    def evaluate_actions(
        self, obs: Observations, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the value, log-probability and entropy of actions taken before, [batch] each."""
        if not isinstance(self.action_space, spaces.Discrete):
            return super().evaluate_actions(obs, actions)
        features = self._features(obs)
        log_probs = F.log_softmax(self.action_net(self.net.forward_actor(features)), -1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        log_prob = log_probs.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)
        return self.value_net(self.net.forward_critic(features)), log_prob, entropy

    def obs_to_tensor(self, observation: Any) -> tuple[Observations, bool]:  # noqa: ANN401 (of any space)
        """Return observations as tensors, as SB3 does; with scores as they are in training, too."""
        features = self.features_extractor
        if isinstance(features, ScoreMapFeatures) and features.has_scores(observation):
            return obs_as_tensor(observation[None], self.device), False
        return super().obs_to_tensor(observation)

    def extract_features(
        self, obs: Observations, features_extractor: BaseFeaturesExtractor | None = None
    ) -> Tensor:
        """Return the features of observations; discrete ones are counted from 0."""
        return super().extract_features(from_zero(obs, self._starts), features_extractor)  # type: ignore[return-value]

    def get_distribution(self, obs: Observations) -> Distribution:
        """Return the distribution of actions; discrete ones are counted from 0."""
        return super().get_distribution(from_zero(obs, self._starts))

    def predict_values(self, obs: Observations) -> Tensor:
        """Return the value of each observation, [batch, 1]."""
        return super().predict_values(from_zero(obs, self._starts))

    def _predict(self, observation: Observations, deterministic: bool = False) -> Tensor:
        """Return the actions that SB3 would, of discrete ones without a distribution object."""
        if not isinstance(self.action_space, spaces.Discrete):
            return super()._predict(observation, deterministic)
        logits = self.action_net(self.net.forward_actor(self._features(observation)))
        return _choose(logits, deterministic)

    def predict(self, *args: Any, **kwargs: Any) -> tuple[NDArray[Any], Any]:  # noqa: ANN401
        """Return actions of the action space, and the state given; as in SB3."""
        actions, state = super().predict(*args, **kwargs)
        return to_environment(self.action_space, actions), state

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        actions = self.action_net(latent_pi)
        if isinstance(self.action_dist, StateDependentNoiseDistribution):
            noisy = self.action_dist.proba_distribution(actions, self.log_std, latent_pi)
            # of the deviations' gradient, which reaches `log_std` alone
            deviations = self.log_std_gate(noisy.distribution.scale)
            noisy.distribution = Normal(noisy.distribution.mean, deviations)
            return noisy
        if not isinstance(self.action_dist, DiagGaussianDistribution):
            return self.action_dist.proba_distribution(actions)
        # a row for each sample, since each has a route of its own
        log_std = self.log_std_gate(self.log_std.expand_as(actions))
        return self.action_dist.proba_distribution(actions, log_std)

    def mixture_logits(self, obs: Observations) -> Tensor:
        """Return the logit of the first module's weight for each observation, [batch]."""
        return self.net.mixture_logits(self._features(obs))

    def reference_distribution(self, obs: Observations) -> Distribution:
        """Return the distribution of the reference's actions; discrete ones are counted from 0."""
        assert self.reference is not None, "the network has no reference"
        features = self.extract_features(obs, self.reference.features_extractor)
        return self.reference(self.net.shown(features))  # type: ignore[no-any-return]

    def _features(self, obs: Observations) -> Tensor:
        features = self.extract_features(obs, self.features_extractor)
        assert not isinstance(features, tuple), "actor and critic share the feature extractor"
        return features

    def alone(self, name: str) -> "MotivationPolicy":
        """Return a copy in which the other modules, the mixture and the reference do not exist.

        With one module left the mixture's weight is 1, as in the paper's deployed policy. PyTorch's
        generator is left as it was.

        Raises:
            ValueError: if no module has that name.
        """
        if name not in self.motivations:
            raise ValueError(f"no module {name!r}: choose from {', '.join(self.motivations)}")
        kept = {"score_maps" if self.score_maps else "modules": (name,)}
        return self.copied(**kept, has_reference=False)

    def copied(self, **parts: Any) -> "MotivationPolicy":  # noqa: ANN401 (as for the constructor)
        """Return a copy for evaluation, perhaps with fewer parts. PyTorch's generator is left.

        Args:
            **parts: arguments of the constructor that differ.
        """
        settings = {**self._get_constructor_parameters(), **parts}
        with torch.random.fork_rng(devices=[]):  # the constructor draws weights, on the CPU
            policy = type(self)(**settings)
        policy.to(self.device)
        mine = self.state_dict()
        policy.load_state_dict({key: mine[key] for key in policy.state_dict()})
        policy.set_training_mode(False)
        if self.use_sde:
            with torch.random.fork_rng(devices=[]):
                policy.reset_noise()  # of the deviations that were loaded
        return policy

    def reversed(self) -> "MotivationPolicy":
        """Return a copy that wants the opposite: what its reward map thought worth most, least.

        Raises:
            ValueError: if no reward map stands before the rest.
        """
        if self.reward_map is None and not self.score_maps:
            raise ValueError("no reward map says what is wanted: use a method such as reward-map")
        policy = self.alone(self.motivations[0])
        if isinstance(policy.features_extractor, ScoreMapFeatures):
            policy.features_extractor.maps[self.motivations[0]].reverse()  # type: ignore[operator]
        else:
            assert policy.reward_map is not None
            policy.reward_map.reverse()
        return policy

    def _get_constructor_parameters(self) -> dict[str, Any]:
        ours: dict[str, Any] = {
            "modules": self.module_names,
            "hidden_sizes": self.hidden_sizes,
            "net_arch": None,
            "mixture": self.mixture,
            "trunk": self.trunk,
            "masked_channels": self.masked_channels,
            "has_reward_map": self.has_reward_map,
            "has_reference": self.has_reference,
            "score_maps": self.score_maps,
            "agent_channel": self.agent_channel,
            "centered": self.centered,
            "conv_channels": self.conv_channels,
        }
        if self.critic_sizes != self.hidden_sizes:
            pi, vf = list(self.hidden_sizes), list(self.critic_sizes)
            ours |= {"hidden_sizes": None, "net_arch": {"pi": pi, "vf": vf}}
        return super()._get_constructor_parameters() | ours


def _choose(logits: Tensor, deterministic: bool) -> Tensor:
    """Return the most probable action of each observation, or a sampled one, [batch]."""
    return logits.argmax(-1) if deterministic else gumbel_sample(logits)


def gumbel_sample(logits: Tensor) -> Tensor:
    """Sample from the categorical distributions of logits, [batch, actions] to [batch].

    The largest of `logits + Gumbel noise` is distributed as their softmax; minus the log of an
    exponential variable is Gumbel noise.
    """
    return (logits - torch.empty_like(logits).exponential_().log()).argmax(-1)
