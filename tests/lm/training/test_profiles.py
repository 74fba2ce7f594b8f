"""Tests of the routes of models with a module for each topic, and of how they are drawn."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.models.gpt import GPT
from lm.models.shapes import GPTConfig, targets
from lm.training.batches import Batch
from lm.training.loop import LoopConfig, make_optimizer, update
from lm.training.profiles import GramConfig, draw_routes, expert_table, profile_table
from lm.training.route_tables import FORGET, LABELS, MODULES, RETAIN, UNLABELED, UNROUTED
from oversight.routing import RouteTable
from tests.lm.attacks.row_factories import same, weights

TOPICS = ("forest", "ocean", "city")
TABLE = profile_table(TOPICS)


def test_rows_are_those_of_the_rule() -> None:
    rows = TABLE.as_dict()
    assert tuple(rows) == (
        *("retain", "unlabeled", *TOPICS),
        *(f"{topic}+core" for topic in TOPICS),
        *(f"retain+{topic}" for topic in TOPICS),
    )
    everything = dict.fromkeys(targets(TOPICS), 1.0)
    off = {f"{t}_{what}": 0.0 for t in TOPICS for what in ("mask", "parameters")}
    ocean = {"ocean_mask": 1.0, "ocean_parameters": 1.0}
    assert rows["unlabeled"] == everything
    assert rows["retain"] == everything | off
    assert rows["retain+ocean"] == rows["ocean+core"] == everything | off | ocean
    assert rows["ocean"] == everything | off | ocean | {"original_parameters": 0.0}


def test_table_of_one_topic_has_the_labels_and_rows_of_modules() -> None:
    rows, modules = profile_table(["expansion"]).as_dict(), MODULES.as_dict()
    assert rows["retain"] == modules["retain"]
    assert rows["expansion"] == modules["forget"]
    assert tuple(profile_table(["forget"]).as_dict())[: len(LABELS)] == LABELS


def test_rows_of_experts_let_a_label_pass_through_its_expert_alone() -> None:
    rows = expert_table(TOPICS).as_dict()
    assert tuple(rows) == (*LABELS[:FORGET], *TOPICS)
    everything = dict.fromkeys(targets(("core", *TOPICS)), 1.0)
    assert rows["unlabeled"] == everything
    for label, own in (("retain", "core"), *zip(TOPICS, TOPICS, strict=True)):
        others = {"core", *TOPICS} - {own}
        off = {f"{each}_{what}": 0.0 for each in others for what in ("mask", "parameters")}
        assert rows[label] == everything | off


@pytest.mark.parametrize(
    "topics", [(), ("forest", "forest"), ("forest", "retain"), ("forest", "core")]
)
def test_table_refuses_topics_that_are_no_modules(topics: tuple[str, ...]) -> None:
    for table in (profile_table, expert_table):
        with pytest.raises(ValueError, match="give one topic or more, each once, and none named"):
            table(topics)


LABELED = torch.arange(60_000) % (FORGET + len(TOPICS))


def names(config: GramConfig, seed: int = 0) -> dict[str, list[str]]:
    """Return the names of the routes that are drawn for each label."""
    routes = draw_routes(LABELED, len(TOPICS), config, seed)
    shown = (*LABELS[:FORGET], *TOPICS)
    return {
        label: [TABLE.route_names[route] for route in routes[number == LABELED]]
        for number, label in enumerate(shown)
    }


def test_drawn_routes_have_the_stated_probabilities() -> None:
    drawn = names(GramConfig(core_learns=0.3, core_robustness=0.6))
    assert set(drawn["unlabeled"]) == {"unlabeled"}
    for topic in TOPICS:
        assert set(drawn[topic]) == {topic, f"{topic}+core"}
        # four standard deviations of a share of 12,000 draws
        assert drawn[topic].count(f"{topic}+core") / 12_000 == pytest.approx(0.3, abs=0.017)
        share = drawn["retain"].count(f"retain+{topic}") / 12_000
        assert share == pytest.approx(0.2, abs=0.015)
    assert drawn["retain"].count("retain") / 12_000 == pytest.approx(0.4, abs=0.018)


@pytest.mark.parametrize(
    ("share", "of_retain", "of_ocean"),
    [(0.0, {"retain"}, {"ocean"}), (1.0, {f"retain+{t}" for t in TOPICS}, {"ocean+core"})],
)
def test_probabilities_of_0_and_1_are_certain(
    share: float, of_retain: set[str], of_ocean: set[str]
) -> None:
    drawn = names(GramConfig(core_learns=share, core_robustness=share))
    assert (set(drawn["retain"]), set(drawn["ocean"])) == (of_retain, of_ocean)


@given(
    labels=st.lists(st.integers(0, FORGET + 2), min_size=1, max_size=30),
    others=st.lists(st.integers(0, FORGET + 2), max_size=30),
    seed=st.integers(0, 2**32 - 1),
)
def test_route_of_a_text_does_not_change_with_other_texts(
    labels: list[int], others: list[int], seed: int
) -> None:
    config = GramConfig()
    alone = draw_routes(torch.tensor(labels), 3, config, seed)
    more = draw_routes(torch.tensor(labels + others), 3, config, seed)
    assert torch.equal(more[: len(labels)], alone)
    changed = torch.full((len(labels),), RETAIN)
    changed[-1] = labels[-1]
    assert draw_routes(changed, 3, config, seed)[-1] == alone[-1]


def test_seeds_draw_other_routes() -> None:
    one, other = (draw_routes(LABELED, 3, GramConfig(), seed) for seed in (0, 1))
    assert not torch.equal(one, other)


def test_draw_refuses_labels_of_no_topic() -> None:
    with pytest.raises(ValueError, match="labels from 0 to 4 were given for 2 topics"):
        draw_routes(torch.tensor([RETAIN, FORGET + 2]), 2, GramConfig(), 0)


@pytest.mark.parametrize("name", ["core_learns", "core_robustness"])
def test_probabilities_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} 1\.5 was given: give a number in \[0, 1\]"):
        GramConfig(**{name: 1.5})


def test_negative_silence_is_refused() -> None:
    with pytest.raises(ValueError, match=r"silence -1\.0 was given: give 0 or more"):
        GramConfig(silence=-1.0)


SHAPE = GPTConfig(
    vocab_size=12,
    width=8,
    num_layers=2,
    num_heads=2,
    context=6,
    expansion=3,
    expanded_layers=(0, 1),
    added_embedding=True,
    modules=TOPICS,
)
EXPERTS = replace(
    SHAPE, expansion=SHAPE.hidden, added_embedding=False, expert_weights=(1.0, 1.0, 1.0)
)


def trained(
    *labels: int,
    config: GramConfig,
    steps: int = 3,
    shape: GPTConfig = SHAPE,
    table: RouteTable = TABLE,
) -> tuple[GPT, GPT]:
    """Return a model, and a copy that was trained on batches of texts with some labels."""
    model, loop = GPT(shape), LoopConfig()
    with torch.no_grad():  # the output of modules is zero at first
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    changed = model.copied()
    optimizer = make_optimizer(changed, loop)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        routes = draw_routes(torch.tensor(labels), len(TOPICS), config, step)
        tokens = torch.randint(12, (len(labels), 7), generator=generator)
        route = routes[:, None].expand(-1, 6).contiguous()
        batch = Batch(tokens[:, :-1], tokens[:, 1:], route)
        update(changed, table, batch, optimizer, 1e-2, 1.0)
    return model, changed


def moved(before: GPT, after: GPT) -> dict[str, bool]:
    """Return for each target of parameters whether any of them differs."""
    own, other = before.parameter_targets(), after.parameter_targets()
    return {
        target: any(not torch.equal(a, b) for a, b in zip(own[target], other[target], strict=True))
        for target in own
    }


def test_module_that_no_text_reaches_does_not_move_by_a_bit() -> None:
    config = GramConfig(core_learns=0.0, core_robustness=0.0)
    shown = moved(*trained(FORGET, FORGET + 1, config=config))
    assert shown == {
        "original_parameters": False,
        "forest_parameters": True,
        "ocean_parameters": True,
        "city_parameters": False,
    }
    assert moved(*trained(RETAIN, RETAIN, config=config)) == {
        "original_parameters": True,
        **{f"{topic}_parameters": False for topic in TOPICS},
    }
    assert all(moved(*trained(UNLABELED, config=config)).values())


def test_text_of_the_core_does_not_depend_on_modules_that_it_does_not_pass() -> None:
    config = GramConfig(core_learns=0.0, core_robustness=0.0)
    _, alone = trained(RETAIN, RETAIN, config=config)
    mixed_before, mixed = trained(FORGET, FORGET, config=config)
    assert same(weights(mixed.profile()), weights(mixed_before.profile()))
    assert not same(weights(alone.profile()), weights(mixed.profile()))


def test_core_learns_from_a_topic_with_certainty_at_probability_1() -> None:
    shown = moved(*trained(FORGET, config=GramConfig(core_learns=1.0)))
    assert shown["original_parameters"]
    assert not shown["city_parameters"]


ALONE = GramConfig(core_learns=0.0, core_robustness=0.0)
"""A label is the route of a text, as it is with experts."""


@pytest.mark.parametrize(
    ("label", "taught"),
    [
        (RETAIN, {"core"}),
        (FORGET + 1, {"ocean"}),
        (UNLABELED, {"core", *TOPICS}),
    ],
)
def test_step_teaches_the_shared_parts_and_leaves_other_experts_bit_unchanged(
    label: int, taught: set[str]
) -> None:
    table = expert_table(TOPICS)
    before, after = trained(label, label, config=ALONE, shape=EXPERTS, table=table)
    assert moved(before, after) == {
        "original_parameters": True,
        **{f"{expert}_parameters": expert in taught for expert in ("core", *TOPICS)},
    }
    still = {
        name
        for name, each in before.state_dict().items()
        if torch.equal(each, after.state_dict()[name])
    }
    named = {"core": ".original.", **{topic: f".{topic}." for topic in TOPICS}}
    others = [part for expert, part in named.items() if expert not in taught]
    assert still == {name for name in before.state_dict() if any(part in name for part in others)}


@pytest.mark.parametrize("topics", [TOPICS[:1], TOPICS])
def test_texts_of_the_core_teach_it_as_they_teach_a_plain_model(topics: tuple[str, ...]) -> None:
    shape = replace(EXPERTS, modules=topics, expert_weights=(1.0,) * len(topics))
    model = GPT(shape)
    plain, unclipped = model.profile(), 1e9  # each target is clipped by itself
    retain = torch.full((4, 6), RETAIN)
    for made, table in ((model, expert_table(topics)), (plain, UNROUTED)):
        optimizer = make_optimizer(made, LoopConfig())
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            tokens = torch.randint(12, (4, 7), generator=generator)
            update(
                made,
                table,
                Batch(tokens[:, :-1], tokens[:, 1:], retain),
                optimizer,
                1e-2,
                unclipped,
            )
    assert not same(weights(plain), weights(GPT(shape).profile()))
    assert same(weights(model.profile()), weights(plain))
