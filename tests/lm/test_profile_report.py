"""Tests of the report of profiles, on made-up results with known compute ratios."""

import io
import json
from collections.abc import Sequence
from math import isnan

import pytest
from rich.console import Console

from lm.compute_ratio import CAP
from lm.profile_report import (
    ALL,
    FORGET,
    LOSS,
    NO_MODULE,
    ONE,
    RATIO,
    RETAIN,
    Key,
    Profiles,
    profiles_table,
    profiles_verdict,
    size_of,
    untaught_modules,
    with_compute_ratios,
)
from lm.results import Result, Results
from tests.lm.profile_factories import TOPICS, baseline, filtered, loss_at, profile, routed
from tests.lm.result_factories import result

RUNS = [
    run
    for seed in range(3)
    for run in (
        baseline(seed),
        filtered(seed),
        filtered(seed, "forest"),
        filtered(seed, "sea"),
        routed(seed, forget=0.1 + seed / 100),
    )
]


def profiles(runs: Sequence[Result] = RUNS) -> Profiles:
    return Profiles(Results(with_compute_ratios(runs)))


def test_compute_ratios_are_shares_of_the_baseline_of_the_same_seed() -> None:
    steep = baseline(1)
    steep["validation"] = {
        section: [[step / 2, loss] for step, loss in curve]
        for section, curve in steep["validation"].items()
    }
    found = with_compute_ratios([baseline(0), steep, routed(0), routed(1)])
    for run in found[2:]:
        first = run["profiles"][0]["topics"]
        assert first["core"][RATIO] == pytest.approx(0.95)
        assert first["forest"][RATIO] == pytest.approx(0.1)
        assert run["profiles"][1]["topics"]["forest"][RATIO] == pytest.approx(0.9)
    assert found[0]["profiles"][0]["topics"]["sea"][RATIO] == 1.0
    json.dumps(found, allow_nan=False)


def test_compute_ratios_are_unknown_without_a_curve_that_can_be_fitted() -> None:
    short = baseline(0)
    short["validation"] = {"core": [[0, 8.0], [1, 7.9]], "forest": [[0, None]] * 6}
    for runs in ([routed(0)], [routed(0), baseline(1)], [routed(0), short]):
        topics = with_compute_ratios(runs)[0]["profiles"][0]["topics"]
        assert all(isnan(figures[RATIO]) for figures in topics.values())
    plain = result("gold", 0)
    assert with_compute_ratios([plain]) == [plain]


def test_ratio_of_a_loss_that_is_not_finite_is_unknown() -> None:
    diverged = routed(0)
    diverged["profiles"][0]["topics"]["sea"]["loss"] = None
    topics = with_compute_ratios([baseline(0), diverged])[1]["profiles"][0]["topics"]
    assert isnan(topics["sea"][RATIO])
    assert not isnan(topics["forest"][RATIO])
    profiles([baseline(0), diverged])


def test_size_is_the_number_of_topics_that_a_profile_keeps() -> None:
    ratios = dict.fromkeys(("core", "a", "b", "c"), 1.0)
    sizes = [
        size_of(profile(on, ratios, "abc"))
        for on in ((), ("a",), ("a", "b"), ("a", "b", "c"), ("expansion",))
    ]
    assert sizes == ["none", "one", "some", "all", "all"]
    alone = dict.fromkeys(("core", "a"), 1.0)
    assert [size_of(profile(on, alone, "a")) for on in ((), ("a",))] == ["none", "all"]


def test_means_are_over_topics_and_profiles_of_a_size_then_over_seeds() -> None:
    found = profiles()
    assert found.topics == TOPICS
    assert found.methods == ("filtered", "unrouted", "modules")
    none = found.values(Key("modules", NO_MODULE, FORGET, RATIO))
    assert none == pytest.approx({0: 0.1, 1: 0.11, 2: 0.12})
    assert found.mean("modules", ONE, RETAIN, RATIO).value == pytest.approx(0.9)
    assert found.mean("filtered", ONE, RETAIN, LOSS).value == pytest.approx(loss_at(0.85))
    assert found.mean("unrouted", ALL, RETAIN, RATIO).value == pytest.approx(1.0)
    assert not found.mean("filtered", ALL, RETAIN, RATIO).seeds
    cells = found.cells("filtered", RATIO)
    assert list(cells) == [(), ("forest",), ("sea",)]
    assert cells["sea",]["sea"].value == pytest.approx(0.85)


def test_table_has_a_row_for_each_size_and_part() -> None:
    shown = io.StringIO()
    Console(file=shown, width=100).print(profiles_table("profiles", profiles()))
    lines = [line.split() for line in shown.getvalue().splitlines() if "%" in line]
    text = shown.getvalue()
    assert ["filtered", "none", "core"] in [line[:3] for line in lines]
    assert ["one", "retain"] in [line[:2] for line in lines]
    assert ["all", "retain"] in [line[:2] for line in lines]
    assert "0.700 +-0.000" in text
    assert "60%" in text
    assert "Warning" not in text
    assert "cut at" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100


def test_table_omits_columns_of_what_was_not_measured() -> None:
    columns = profiles_table("profiles", profiles([baseline(0), filtered(0)])).columns
    assert [str(column.header).replace("\n", " ") for column in columns] == [
        *("method", "on", "part", "loss", "compute ratio", "facts")
    ]


def test_caption_says_how_many_ratios_are_cut() -> None:
    ahead = routed(0)
    ahead["profiles"][3]["topics"]["sea"]["loss"] = 0.5
    found = profiles([baseline(0), ahead])
    assert found.capped == 1
    assert f"1 ratios are cut at {CAP:g}" in str(profiles_table("profiles", found).caption)


def test_module_that_no_text_taught_is_named_in_a_warning() -> None:
    untaught = routed(0)
    untaught["profiles"][2]["topics"] = untaught["profiles"][0]["topics"]
    assert untaught_modules(untaught["profiles"]) == ("sea",)
    assert untaught_modules(routed(0)["profiles"]) == ()
    assert untaught_modules(filtered(0, "sea")["profiles"]) == ()
    caption = str(profiles_table("profiles", profiles([baseline(0), untaught])).caption)
    assert "Warning: no text taught the module sea of modules" in caption


def test_verdict_states_each_method_by_size_and_composability() -> None:
    sentence = profiles_verdict(profiles())
    assert sentence.startswith(
        "filtered: with no module on, forget compute ratio 0.05 (0.05 to 0.05) and facts 0% (0% to "
        "0%), core 0.90 (0.90 to 0.90) and 80% (80% to 80%); with one on, its topic 0.85"
    )
    assert (
        "modules: with no module on, forget compute ratio 0.11 (0.10 to 0.12) and facts" in sentence
    )
    assert "with all on, topics 0.90 (0.90 to 0.90) and 80% (80% to 80%)" in sentence
    assert "; composability, all on minus one on: +0.00 (+0.00 to +0.00); no module on" in sentence
    lead = loss_at(0.95) - loss_at(0.9)
    assert f"no module on minus filtered: core loss {lead:+.3f}" in sentence
    assert sentence.count("minus filtered") == 1
    assert "unrouted:" not in sentence


def test_verdict_says_what_is_unknown() -> None:
    assert "forget compute ratio unknown and facts 0%" in profiles_verdict(profiles([routed(0)]))
    assert profiles_verdict(profiles([baseline(0)])).startswith("There is no verdict on profiles")
