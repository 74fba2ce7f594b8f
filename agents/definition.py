"""What a method is: a route table, the reward it learns from, and the parts of its network."""

from dataclasses import dataclass
from typing import Literal

from oversight.routing import RouteTable

Reward = Literal["observed", "proxy", "true"]
Mixture = Literal["learned", "fixed"]
Selection = Literal["outcome", "shuffled", "coin"]
Label = Literal["paid", "observed", "zero", "imputed", "imputed-local", "pessimistic", "appraised"]

ROUTES = ("diamond", "ghost", "hidden", "open")
"""How an episode ended, as the overseer saw it.

`diamond` and `ghost`: something of it was observed, and the observed rewards sum to more than 0, or
do not. `hidden`: at a terminal, with nobody watching from first to last. `open`: nobody watched
either, but the time limit or the rollout's end cut it; that may count as `hidden` too.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One way to learn under partial oversight.

    Attributes:
        name: the word that selects it.
        summary: one sentence for a help page.
        reward: what the environment must pay it: the `observed` reward with the proxy where it is
            hidden, the `proxy` alone, or the `true` reward, which only an oracle may see.
        table: the weight of each route's gradient at each target.
        modules: the motivation modules of its network, one or two.
        deployed: the module that acts after training.
        mixture: how two modules are blended: by a `learned` weight, or a `fixed` one of one half.
        trunk: whether a trunk lies below the modules, the target `competence`.
        selection: whose route an episode takes: that of its own `outcome`, that of another episode
            of the rollout (`shuffled`), or its own by chance and else `hidden` (`coin`).
        label: the reward that it learns from: the one `paid`; or the observed one, and where
            nothing was observed the one paid (`observed`), none (`zero`), the guess of a reward
            model (`imputed`), one that judges each place by itself (`imputed-local`), or a
            cautious one (`pessimistic`); or, whether or not it was observed, what its own
            motivation module thinks of it (`appraised`).
        proxy_table: the weights of a second policy loss, from the reward paid, beside `label`.
        inverse_propensity: whether observed episodes stand for those that nobody saw.
    """

    name: str
    summary: str
    reward: Reward
    table: RouteTable
    modules: tuple[str, ...] = ("diamond", "ghost")
    deployed: str = "diamond"
    mixture: Mixture = "learned"
    trunk: bool = False
    selection: Selection = "outcome"
    label: Label = "paid"
    proxy_table: RouteTable | None = None
    inverse_propensity: bool = False

    @property
    def mixed(self) -> bool:
        """Whether a learned mixture blends its modules."""
        return len(self.modules) == 2 and self.mixture == "learned"

    @property
    def appraised(self) -> bool:
        """Whether a motivation module judges where steps led, and the rest is paid by it."""
        return self.label == "appraised"

    @property
    def plain(self) -> bool:
        """Whether every gradient goes everywhere, so that its network needs no gates."""
        ones = self.table.passed == frozenset(self.table.target_names)
        return ones and self.proxy_table is None and not self.inverse_propensity

    @property
    def needs_propensity(self) -> bool:
        """Whether it must be told how likely the end of an episode is to be observed."""
        return self.inverse_propensity or self.selection == "coin"
