"""The facts and parts of worlds, and the refusal of invalid worlds."""

from collections import Counter
from dataclasses import replace

import pytest

from lm.corpus import HALVES, PARTS, make_grammar, make_world, split_topics
from lm.corpus.world import LEXICON, Relation
from tests.lm.corpus.factories import TINY, tiny


def test_world_depends_only_on_the_seed() -> None:
    one, same, other = make_world(seed=5), make_world(seed=5), make_world(seed=6)
    assert one.entities == same.entities
    assert (one.values == same.values).all()
    assert one.entities != other.entities
    assert (one.values != other.values).any()


def test_each_quartet_differs_in_every_relation() -> None:
    world = make_world(quartets=3)
    for quartet in world.quartet_entities(world.topics, PARTS).reshape(-1, 4):
        for column in world.values[quartet].T:
            assert len(set(column.tolist())) == 4


def test_values_are_uniform_and_quartets_independent() -> None:
    first, second = Counter[int](), Counter[tuple[int, int]]()
    for seed in range(2000):
        values = make_world(seed=seed, topics=["sea"], quartets=1).values
        first[int(values[0, 0])] += 1
        second[int(values[0, 0]), int(values[4, 0])] += 1  # of the first and the second half
    # 5 standard errors of a share of 1/8 and of 1/64 of 2000 draws
    assert all(abs(first[v] - 250) < 5 * 14.8 for v in range(8))
    assert all(abs(second[a, b] - 31.25) < 5 * 5.6 for a in range(8) for b in range(8))


def test_parts_partition_all_facts() -> None:
    world = make_world()
    parts = [set(world.facts_of(world.topics, [part]).tolist()) for part in PARTS]
    assert set.union(*parts) == set(range(world.values.size))
    assert sum(map(len, parts)) == world.values.size
    assert {len(part) for part in parts} == {world.values.size // 3}
    assert set(world.facts_of(world.topics).tolist()) == parts[0] | parts[1]
    topics = [set(world.facts_of([topic], PARTS).tolist()) for topic in world.topics]
    assert sum(map(len, topics)) == len(set.union(*topics)) == world.values.size


def test_no_quartet_is_split_between_halves() -> None:
    world = make_world()
    first, second = (world.quartet_entities(["sea"], [half]) for half in HALVES)
    assert not set(first.ravel().tolist()) & set(second.ravel().tolist())
    assert first.shape == second.shape == (1, world.quartets, 4)


def test_splits_are_disjoint_and_adjacent_topics_are_the_family() -> None:
    splits = split_topics(make_world(), ["forest"])
    assert splits.forget == ("forest",)
    assert splits.adjacent == ("garden", "mountain")
    assert splits.retain == ("sea", "river", "harbor", "kitchen", "market", "castle")
    splits = split_topics(make_world(), ["sea", "castle"])
    assert splits.adjacent == ("river", "harbor", "kitchen", "market")


def test_world_has_only_the_given_topics() -> None:
    world = make_world(topics=["sea", "forest"])
    assert world.topics == ("sea", "forest")


def test_held_out_templates_use_only_words_of_training() -> None:
    grammar = make_grammar(make_world())
    training = [t for group in (*grammar.before, grammar.facts, *grammar.after) for t in group]
    known = {piece for template in training for piece in template.pieces}
    assert not set(grammar.held_out) & set(grammar.facts)
    for template in grammar.held_out:
        assert set(template.pieces) <= known


FIVE = {
    name: replace(each, values=(*each.values, f"{name}s")) for name, each in TINY.relations.items()
}
MANY = replace(LEXICON, topics={f"place{n}": LEXICON.topics["sea"] for n in range(11)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"topics": ["moon"]}, "unknown topic 'moon'; choose from forest, "),
        ({"topics": []}, "one or more different topics"),
        ({"topics": "sea"}, "one or more different topics"),
        ({"topics": ["sea", "sea"]}, "one or more different topics"),
        ({"quartets": 0}, "quartets must be 1 or more, got 0"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"quartets": 10_000}, "names for entities"),
        ({"cue": "nouns"}, "unknown cue 'nouns'; choose from words, entities, pairs"),
        ({"cue": "pairs", "quartets": 5}, "has 64 such words; use fewer quartets"),
        ({"cue": "pairs", "lexicon": TINY, "quartets": 2}, "pairs of 32 words would name"),
        ({"cue": "entities", "lexicon": replace(TINY, relations=FIVE)}, "4 or 8 values .* got 5"),
        ({"cue": "pairs", "lexicon": MANY, "quartets": 1}, "at most 10 topics, not 11"),
    ],
)
def test_make_world_refuses_invalid_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_world(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("forget", "message"),
    [
        ([], "forget set is empty; name topics of forest"),
        (["moon"], "unknown topic 'moon'"),
        (list(LEXICON.topics), "leave one or more to retain"),
    ],
)
def test_split_topics_refuses_an_invalid_forget_set(forget: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_topics(make_world(), forget)


OPENING = TINY.before[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("Ann", "Bob", "red")}, "'red' must be one word"),
        ({"names": ("Ann", "Bob", "fur")}, "in one slot and in no template"),
        ({"names": ("Ann", "Bob", "Jo Ann")}, "one word of ASCII letters"),
        ({"before": (OPENING, ("{name} ran.", "{friend} ran."))}, "same slots"),
        ({"before": (("One day {name} ran.",),)}, "from which the topic is known"),
        ({"before": (OPENING, ("They saw a {place}.",))}, "a sentence of the frame may hold"),
        ({"after": (("They saw a {planet}.",),)}, "a sentence of the frame may hold"),
        ({"before": (OPENING, ("{name} ran",))}, "end in its one full stop"),
        ({"before": (OPENING, ("{name} saw {name}.",))}, "each slot once"),
        ({"before": (("{name} saw a {place}.",),)}, "must not open with a slot"),
    ],
)
def test_make_grammar_refuses_an_ambiguous_grammar(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**changes)


def test_make_grammar_refuses_invalid_relations() -> None:
    color = TINY.relations["color"]
    backward = replace(color, templates=("Of {value} was the {entity}.",))
    with pytest.raises(ValueError, match="names its entity, then its value"):
        tiny(relations={"color": backward})
    short = Relation(values=("one", "two"), templates=color.templates, held_out=color.held_out)
    with pytest.raises(ValueError, match="one number of values, 4 or more"):
        make_grammar(make_world(lexicon=replace(TINY, relations={"color": short})))
