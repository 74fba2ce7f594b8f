"""What a method is: its routes, its rewards, its losses and its network, and what each may be."""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from typing import Literal

from agents.losses import AuxiliaryLoss
from agents.network import Network
from agents.policy_arguments import require_truth
from agents.reward_model import (
    Learner,
    SourceFactory,
    convolutional_model,
    observed_else_paid,
    observed_else_zero,
    pessimistic_convolutions,
    pessimistic_ensemble,
    reward_model,
    score_maps,
)
from agents.rollout_buffer import (
    Assignment,
    RewardSource,
    Routes,
    by_coin,
    in_route_order,
    require_choice,
)
from oversight.routing import RouteTable

Reward = Literal["observed", "proxy", "true"]
Reweighting = Callable[[RouteTable, Routes, float], RouteTable]
"""From a table, the routes of a rollout's steps, and the probability that an end is observed."""


def paid(learner: Learner) -> RewardSource:
    """Learn from the reward that the environment pays."""
    return RewardSource()


WITHOUT_AGENT_CHANNEL: tuple[SourceFactory, ...] = (
    *(paid, observed_else_paid, observed_else_zero, reward_model, convolutional_model),
    *(pessimistic_ensemble, pessimistic_convolutions, score_maps),
)
"""Reward sources that do not read which channel shows the agent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One way to learn under partial oversight.

    Attributes:
        name: the word that selects it.
        summary: one sentence for a help page.
        reward: what the environment must pay it: the `observed` reward with the proxy where it is
            hidden, the `proxy` alone, or the `true` reward, which only an oracle may see.
        table: the weight of each route's gradient at each target.
        source: function that makes the reward source of an agent; see `RewardSource`.
        auxiliary: losses that it adds to PPO's.
        network: the parts of its network.
        assignment: function that changes the routes of a rollout's episodes, if any does; by
            default each episode takes the route of its own outcome.
        reweighting: how the table is weighted for the episodes of a rollout, if it is.
        needs_propensity: whether it needs the probability that the end of an episode is observed.

    Raises:
        ValueError: if an attribute is none of its choices or of another kind, two auxiliary losses
            have one name, or the table names other routes than `ROUTES`. Its rows may come in any
            order.
    """

    name: str
    summary: str
    reward: Reward
    table: RouteTable
    source: SourceFactory = paid
    auxiliary: tuple[AuxiliaryLoss, ...] = ()
    network: Network = field(default_factory=Network)
    assignment: Assignment | None = None
    reweighting: Reweighting | None = None
    needs_propensity: bool = False

    def __post_init__(self) -> None:
        """Refuse what no agent can learn by, and put the table's rows in the order of `ROUTES`."""
        require_texts(name=self.name, summary=self.summary)
        require_choice("reward", self.reward, Reward)
        object.__setattr__(self, "table", in_route_order(self.table))
        object.__setattr__(self, "auxiliary", auxiliary_losses(self.auxiliary))
        if not isinstance(self.network, Network):
            raise ValueError(f"network must be a Network, got {self.network!r}")
        require_truth("needs_propensity", self.needs_propensity)
        for name in FUNCTIONS:
            require_function(name, getattr(self, name))
        by_propensity = self.reweighting is not None or self.assignment is by_coin
        if by_propensity and not self.needs_propensity:
            raise ValueError(
                f"method {self.name!r} has a reweighting or by_coin, which reads the probability "
                "that the end of an episode is observed: give needs_propensity=True"
            )

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of its motivation modules, one or two."""
        return self.network.modules

    @property
    def motivations(self) -> tuple[str, ...]:
        """The names of the parts of which each alone can act: score maps, or else modules."""
        return self.network.score_maps or self.network.modules

    @property
    def deployed(self) -> str:
        """The motivation module, or score map, that acts after training."""
        return self.motivations[0]

    @property
    def needs_gates(self) -> bool:
        """Whether any gradient is weighted, so that a network without gates could not learn it."""
        ones = self.table.passed == frozenset(self.table.target_names)
        tables = [each.table for each in self.auxiliary if each.table is not None]
        return not ones or bool(tables) or self.reweighting is not None

    @property
    def reads_oversight(self) -> bool:
        """Whether what it learns depends on which steps are observed, beyond what they pay."""
        shuffles = self.assignment is not None
        return self.needs_gates or shuffles or self.source is not paid or bool(self.auxiliary)

    @property
    def may_read_agent_channel(self) -> bool:
        """Whether the channel that shows the agent may change what it learns.

        A reward map reads it, and a reward source of one's own may.
        """
        return self.network.has_reward_map or self.source not in WITHOUT_AGENT_CHANNEL

    def table_for(self, routes: Callable[[], Routes], propensity: float | None) -> RouteTable:
        """Return the table of one rollout.

        Args:
            routes: function that returns the routes of the rollout's steps, [steps, lanes].
            propensity: probability that the end of an episode is observed.
        """
        if self.reweighting is None:
            return self.table
        assert propensity is not None, "RoutedPPO refuses such a method without a propensity"
        table = in_route_order(self.reweighting(self.table, routes(), propensity))
        if set(table.target_names) != set(self.table.target_names):
            raise ValueError(
                f"the reweighting of method {self.name!r} returned a table of the targets "
                f"{', '.join(table.target_names)}: keep {', '.join(self.table.target_names)}, and "
                "change weights only"
            )
        return table


TEXTS = {"name": "a word", "summary": "a sentence"}

FUNCTIONS = {
    "source": ("learner",),
    "assignment": ("pool", "order", "propensity"),
    "reweighting": ("table", "routes", "propensity"),
}
"""The functions of a method, and what they are called with."""


def require_texts(**given: object) -> None:
    """Raise a ValueError for a name or a summary that is no text."""
    for name, text in given.items():
        if not isinstance(text, str) or not text:
            raise ValueError(f"the {name} of a method must be {TEXTS[name]}, got {text!r}")


def require_function(name: str, function: object) -> None:
    """Raise a ValueError for a function of a method that is none, or takes other arguments.

    Args:
        name: one of `FUNCTIONS`, of which all but `source` may be None.
        function: what was given.
    """
    if function is None and name != "source":
        return
    if not callable(function):
        raise ValueError(
            f"{name} must be a function, got {function!r}: those of the methods are in "
            "agents.reward_model, agents.rollout_buffer and agents.methods"
        )
    arguments = FUNCTIONS[name]
    try:
        signature(function).bind(*arguments)
    except TypeError as error:
        raise ValueError(
            f"{name} must be a function of ({', '.join(arguments)}), got {function!r}: {error}"
        ) from None
    except ValueError:  # a builtin without a signature is tried when it is called
        return


def auxiliary_losses(given: object) -> tuple[AuxiliaryLoss, ...]:
    """Return auxiliary losses as a tuple.

    Raises:
        ValueError: if they are something else, or two of them have one name.
    """
    losses = tuple(given) if isinstance(given, list | tuple) else (given,)
    for loss in losses:
        if not isinstance(loss, AuxiliaryLoss):
            raise ValueError(
                f"auxiliary must be a tuple of AuxiliaryLoss, got {loss!r}: leave it out, or give "
                "some of agents.losses"
            )
    names = [loss.name for loss in losses]
    if len(set(names)) < len(names):
        raise ValueError(
            f"auxiliary losses are logged by name, got {', '.join(names)}: give each of them "
            "another name, as in MixtureLoss(name='second_mixture_loss')"
        )
    return losses
