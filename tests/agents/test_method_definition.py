"""What a `Method` may be, and what its functions may return."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents import METHODS
from agents.losses import MixtureLoss, ProxyLoss
from agents.methods import inverse_propensity
from agents.reward_map import reward_head
from agents.reward_model import RewardModel
from agents.rollout_buffer import ROUTES, RewardSource, Step, by_coin
from oversight.routing import RouteTable
from tests.agents.factories import small_agent, small_env


@pytest.mark.parametrize(
    "rows",
    [
        {route: {"motivation": 1, "shared": 1} for route in ROUTES[:3]},
        {route: {"motivation": 1, "shared": 1} for route in (*ROUTES, "unseen")},
        {route: {"motivation": 1, "shared": 1} for route in (*ROUTES[:3], "opne")},
    ],
)
def test_tables_of_other_routes_are_refused(rows: dict[str, dict[str, float]]) -> None:
    table = RouteTable(rows)
    uses: list[Callable[[], object]] = [
        lambda: replace(METHODS["naive"], table=table),
        lambda: ProxyLoss(table=table),
        lambda: RewardModel([reward_head(3, (4,))], 2, 0, table=table),
        lambda: inverse_propensity(table, np.zeros((2, 2), np.int8), 0.5),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="one row for each of them, and no other"):
            use()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"reward": "ture"}, "reward must be observed, proxy or true, got 'ture'"),
        ({"reward": None}, "reward must be observed, proxy or true, got None"),
        ({"needs_propensity": "no"}, "needs_propensity must be True or False, got 'no'"),
        ({"network": "two modules"}, "network must be a Network, got 'two modules'"),
        ({"table": {"positive": {"shared": 1}}}, "must be a RouteTable"),
        ({"source": "paid"}, "source must be a function, got 'paid'"),
        ({"source": None}, "source must be a function, got None"),
        ({"assignment": "shuffled"}, "assignment must be a function, got 'shuffled'"),
        ({"reweighting": 0.5}, "reweighting must be a function, got 0.5"),
        ({"auxiliary": ("mixture_loss",)}, "auxiliary must be a tuple of AuxiliaryLoss"),
        ({"auxiliary": "mixture_loss"}, "auxiliary must be a tuple of AuxiliaryLoss"),
        ({"name": ""}, "name of a method must be a word"),
        ({"source": lambda: None}, r"source must be a function of \(learner\), got"),
        ({"source": RewardSource}, r"source must be a function of \(learner\), got"),
        ({"assignment": len}, r"assignment must be a function of \(pool, order, propensity\)"),
        ({"reweighting": len}, r"reweighting must be a function of \(table, routes, propensity\)"),
        ({"assignment": by_coin}, "'naive' has a reweighting or by_coin.*needs_propensity=True"),
        ({"summary": 3}, "summary of a method must be a sentence, got 3"),
        ({"reweighting": inverse_propensity}, "'naive' has a reweighting.*needs_propensity=True"),
        ({"auxiliary": (MixtureLoss(), MixtureLoss())}, "by name, got mixture_loss, mixture_loss"),
        ({"auxiliary": [MixtureLoss(), MixtureLoss(name="second")] * 2}, "are logged by name"),
    ],
)
def test_method_refuses_what_it_cannot_learn_by(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        replace(METHODS["naive"], **parts)
    assert "\n" not in str(caught.value)


def few(table: RouteTable, *_: object) -> RouteTable:
    """Keep the first target alone."""
    return RouteTable({route: {"motivation": 1.0} for route in table.as_dict()})


def source_of(rewards: Any) -> Any:  # noqa: ANN401 (of the right kind or not)
    class Source(RewardSource):
        def __call__(self, step: Step) -> Any:  # noqa: ANN401
            return rewards(step)

    return lambda learner: Source()


LANES, CUT = 8, "finite numbers that float32 can hold"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"source": lambda learner: None}, "'naive' must return a RewardSource, got None"),
        ({"source": lambda learner: np.zeros}, "'naive' must return a RewardSource, got"),
        (
            {"source": source_of(lambda step: None)},
            f"source Source must .* {LANES} lanes, got None",
        ),
        ({"source": source_of(lambda step: step.paid[1:])}, f"a number for each of {LANES} lanes"),
        ({"source": source_of(lambda step: step.paid.astype(str))}, "a number for each of"),
        ({"source": source_of(lambda step: step.paid * np.nan)}, f"source Source is NaN.*{CUT}"),
        (
            {"source": source_of(lambda step: step.paid.astype(float) + 1e39)},
            f"source Source is NaN.*{CUT}",
        ),
        ({"assignment": lambda pool, *_: None}, "a route for each of .* episodes.*got None"),
        ({"assignment": lambda pool, *_: pool[1:]}, "a route for each of .* episodes"),
        ({"assignment": lambda pool, *_: pool + 9}, "integers from 0 to 3 which number positive"),
        ({"assignment": lambda pool, *_: pool * 0.5}, "integers from 0 to 3"),
        ({"reweighting": few, "needs_propensity": True}, "returned a table of the targets motiv"),
        (
            {"reweighting": lambda *_: None, "needs_propensity": True},
            "must be a RouteTable, got No",
        ),
    ],
)
def test_agent_refuses_what_functions_of_a_method_return(
    parts: dict[str, Any], message: str
) -> None:
    chosen = replace(METHODS["naive"], **parts)
    with pytest.raises(ValueError, match=message) as caught:
        small_agent(chosen, env=small_env("naive", lanes=LANES)).learn(32 * LANES)
    assert "\n" not in str(caught.value)
