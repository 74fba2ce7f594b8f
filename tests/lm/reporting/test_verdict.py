"""The verdict says what the numbers say, and no more than the seeds allow."""

from typing import Any

from lm.report import Runs, ranking, verdict
from tests.lm.reporting import result, retained


def beside(method: str, seed: int, area: float, kept: float = 1.0) -> dict[str, Any]:
    """Return a run whose curve lies so far from gold's, where unrouted's is 10 away."""
    more = {"area_to_gold_facts": area / 2, "share_of_base": area / 10, "share_of_base_facts": 0.0}
    return result(method, seed, area_to_gold=area, **more) | retained(kept)


WON = [
    beside(method, seed, area + seed / 10, kept)
    for method, area, kept in (
        ("gold", 0.0, 1.0),
        ("unrouted", 10.0, 1.0),
        ("filtered", 5.0, 0.98),
        ("parameters", 1.0, 1.01),
        ("rmu", 9.0, 1.02),
    )
    for seed in range(3)
]


def test_a_winner_is_named_with_the_next_their_costs_and_the_seeds() -> None:
    assert verdict(Runs(WON)) == (
        "parameters relearns most like gold: of the area between the relearning curves of "
        "unrouted and gold, parameters leaves 11% (10% to 12%) in loss and 0% (0% to 0%) in "
        "facts, filtered leaves 51% (50% to 52%) in loss and 0% (0% to 0%) in facts, with 95% "
        "intervals over 3 seeds; retain loss beside that of unrouted: +1.0% (1.0% to 1.0%) for "
        "parameters and -2.0% (-2.0% to -2.0%) for filtered."
    )


def test_the_nearest_comes_first_and_references_and_controls_win_nothing() -> None:
    controls = [beside(m, 0, 0.0) for m in ("gold", "random-region", "unrouted-ablated")]
    assert ranking(Runs([*WON, *controls])) == ["parameters", "filtered", "rmu"]
    nothing = "There is no verdict: it takes attacks on gold and on a method of unlearning."
    assert verdict(Runs(controls)) == nothing
    assert verdict(Runs([result("era", 0)])) == nothing


def test_the_best_routed_method_is_told_of_too() -> None:
    ahead = [beside("filtered-tokens", seed, 0.1) for seed in range(3)]
    said = verdict(Runs([*WON[:9], *ahead, *[beside("modules", s, 7.0) for s in range(3)]]))
    assert said.startswith("filtered-tokens relearns most like gold: ")
    assert "filtered leaves 51%" in said
    assert "modules leaves 70%" in said


def test_what_cannot_be_told_apart_is_a_tie() -> None:
    tied = [beside("era", seed, 1.1 + seed / 10 + (-1) ** seed / 4) for seed in range(3)]
    start = "parameters and era cannot be told apart in how nearly they relearn like gold: "
    assert verdict(Runs([*WON, *tied])).startswith(start)


def test_one_seed_is_no_finding_and_without_a_base_areas_are_told() -> None:
    one = [
        {name: value for name, value in each.items() if not name.startswith("share")}
        for each in WON
        if each["seed"] == 0 and each["method"] != "unrouted"
    ]
    assert verdict(Runs(one)) == (
        "parameters relearns most like gold: of area between its relearning curve and that of "
        "gold, parameters leaves 1.00 nats times steps and 0.50 shares of facts times steps, "
        "filtered leaves 5.00 nats times steps and 2.50 shares of facts times steps; retain loss "
        "beside that of gold: +1.0% for parameters and -2.0% for filtered; with 1 seed, no lead "
        "is a finding."
    )


def test_a_method_alone_wins_against_nobody() -> None:
    alone = [each for each in WON if each["method"] in ("gold", "modules")]
    said = verdict(Runs([*alone, *[beside("modules", seed, 2.0) for seed in range(3)]]))
    assert said.startswith("Of the area between the relearning curves of unrouted and gold, mod")
