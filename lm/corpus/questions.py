"""Questions about facts: a story that breaks off before a value, and values that may complete it.

Multiple choice offers the four values of a quartet, in the same order for its four questions; the
cloze offers every value of the relation. In the control the word "creature" replaces the entity:
the four controls of a quartet are one text with one list of choices and four different answers. So
any rule that does not read the entity is right in exactly one of four.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lm.corpus.grammar import Grammar, Kind, StoryDistribution
from lm.corpus.stories import sample_stories
from lm.corpus.world import World


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about one fact. A choice continues the prompt, beginning with a space."""

    fact: int
    topic: str
    relation: str
    prompt: str
    control: str
    """The prompt without its entity."""
    choices: tuple[str, ...]
    """The quartet's four values, in random order."""
    answer: int
    """Index of the right value among the choices."""
    values: tuple[str, ...]
    """All values of the relation, for the cloze."""
    cloze_answer: int
    """Index of the right value among all values."""


def make_questions(
    grammar: Grammar, rng: np.random.Generator, distribution: StoryDistribution | None = None
) -> list[Question]:
    """Return one question about each fact of a distribution, that of training by default.

    The generator draws the story before each question, its template and the order of the choices.

    Raises:
        ValueError: If a topic or part is unknown.
    """
    distribution = distribution or StoryDistribution()
    world = grammar.world
    asked: list[Question] = []
    templates = distribution.fact_templates(grammar)
    for topic in distribution.topic_names(world):
        for quartet in world.quartet_entities([topic], distribution.parts)[0]:
            for number, relation in enumerate(world.relations):
                mine = [template for template in templates if template.relation == relation]
                template = mine[rng.integers(len(mine))]
                cut = "".join(template.pieces[: template.slots["value"]])
                facts = quartet * len(world.relations) + number
                order = rng.permutation(len(facts))
                asked += _quartet(world, topic, facts, _opening(grammar, topic, rng) + cut, order)
    return asked


def _quartet(
    world: World,
    topic: str,
    facts: NDArray[np.int64],
    text: str,
    order: NDArray[np.int64],
) -> list[Question]:
    """Return the four questions of a quartet, which share their text and their choices."""
    relation = world.relations[facts[0] % len(world.relations)]
    values = tuple(f" {value}" for value in world.lexicon.relations[relation].values)
    answers = [f" {world.value(int(fact))}" for fact in facts]
    choices = tuple(answers[place] for place in order)
    return [
        Question(
            fact=int(fact),
            topic=topic,
            relation=relation,
            prompt=text.replace("{entity}", world.entities[fact // len(world.relations)]),
            control=text.replace("{entity}", world.lexicon.anyone),
            choices=choices,
            answer=choices.index(answer),
            values=values,
            cloze_answer=values.index(answer),
        )
        for fact, answer in zip(facts, answers, strict=True)
    ]


def _opening(grammar: Grammar, topic: str, rng: np.random.Generator) -> str:
    """Return a random story up to its first fact."""
    story = sample_stories(grammar, 1, rng, StoryDistribution(topics=(topic,), facts_per_story=1))
    first = int(np.argmax(story.kinds == Kind.ENTITY))
    pieces = [grammar.pieces[piece] for piece in story.pieces[:first]]
    whole = len(pieces) - pieces[::-1].index(".")
    return "".join(pieces[:whole])
