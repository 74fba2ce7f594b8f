"""Facts about the world, from maintained sources: questions about them, and texts that state them.

A topic is a relation between names, such as that of countries and their capitals. Each fact is
stated in each template of its topic, and asked in multiple choice. The distractors are answers to
other facts of the topic, so that a model without knowledge of the fact is right by chance.

Facts are independent of each other, so that those of one half say nothing about those of the other
(Deeb and Roger 2024, arXiv 2410.08827).
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lm.corpus import HALVES

CHOICES = 4
"""Number of choices of a question."""
MIN_POPULATION = 500_000
"""Countries with fewer people are left out."""


class Fact(NamedTuple):
    """A relation between two names, such as a country and its capital."""

    subject: str
    answer: str


Pairs = Iterable[tuple[str, str | None]]
"""Subjects and their answers, or None where there is no fact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FactTopic:
    """A relation, where its facts come from, and how they are stated and asked."""

    read: Callable[[], Pairs]
    """Reads the facts; raises an ImportError or an OSError if their source is not installed."""
    install: str
    """The command that installs the source."""
    question: str
    """The question about a subject."""
    statements: tuple[str, ...]
    """Sentences that end with the answer; questions are asked with the first."""
    sentences: tuple[str, ...]
    """Sentences that go on after the answer."""
    shared: bool = False
    """Whether several subjects have the same answer."""

    @property
    def templates(self) -> tuple[str, ...]:
        """All ways to state a fact, the question with its answer last."""
        asked = f"Question: {self.question}\nAnswer: {{answer}}"
        return (*(f"{each}." for each in self.statements), *self.sentences, asked)


def _capitals() -> Pairs:
    for country in import_module("countryinfo").all_countries():
        info = country.info()
        if (info.get("population") or 0) >= MIN_POPULATION:
            yield info["name"], info.get("capital")


def _symbols() -> Pairs:
    elements = import_module("periodictable").elements
    return ((each.name, each.symbol) for each in elements if each.number)


def _classes() -> Pairs:
    folder = Path(os.environ.get("WNSEARCHDIR", "/usr/share/wordnet"))
    return classes_of_animals(folder / "data.noun", folder / "cntlist.rev")


TOPICS: dict[str, FactTopic] = {
    "capitals": FactTopic(
        read=_capitals,
        install="pip install -e '.[facts]'",
        question="What is the capital of {subject}?",
        statements=(
            "The capital of {subject} is {answer}",
            "The capital city of {subject} is called {answer}",
            "The government of {subject} has its seat in the capital, {answer}",
            "Whoever visits the capital of {subject} visits {answer}",
            "On a map, the star that marks the capital of {subject} is at {answer}",
        ),
        sentences=(
            "{answer} is the capital of {subject}.",
            "{answer}, the capital of {subject}, is known to many travelers.",
            "Of all the cities of {subject}, {answer} is the capital.",
            "The embassy is in {answer}, since that is the capital of {subject}.",
        ),
    ),
    "elements": FactTopic(
        read=_symbols,
        install="pip install -e '.[facts]'",
        question="What is the chemical symbol of {subject}?",
        statements=(
            "The chemical symbol for {subject} is {answer}",
            "In the periodic table, {subject} is written as {answer}",
            "Chemists abbreviate {subject} as {answer}",
            "In a formula, an atom of {subject} is denoted by {answer}",
            "The element {subject} has the symbol {answer}",
        ),
        sentences=(
            "{answer} is the chemical symbol for {subject}.",
            "{answer} stands for {subject} in the periodic table.",
            "The letters {answer} in a formula mean {subject}.",
            "The box with {answer} in the periodic table is that of {subject}.",
        ),
    ),
    "animals": FactTopic(
        read=_classes,
        install="apt-get install wordnet-base, or name the folder of WordNet by WNSEARCHDIR",
        question="To which class of animals does the {subject} belong?",
        statements=(
            "In zoology, the {subject} belongs to the {answer}",
            "Like all animals of its class, the {subject} is counted among the {answer}",
            "In the book about animals, the {subject} is in the chapter on {answer}",
            "A zoo keeps the {subject} together with other {answer}",
            "A biologist who studies the {subject} is an expert on {answer}",
        ),
        sentences=(
            "{answer} are the class of animals of the {subject}.",
            "All {answer} are relatives of the {subject}.",
            "The chapter on {answer} shows a picture of the {subject}.",
            "Like other {answer}, the {subject} is found in many countries.",
        ),
        shared=True,
    ),
}
"""Topics by name."""

ANIMALS = "05"
"""The number of WordNet's file of animals."""
CLASSES = {
    "amphibian": "amphibians",
    "arachnid": "arachnids",
    "bird": "birds",
    "crustacean": "crustaceans",
    "fish": "fish",
    "insect": "insects",
    "mammal": "mammals",
    "reptile": "reptiles",
}
"""The classes of animals that are told apart, by their words in WordNet."""


class Meaning(NamedTuple):
    """A meaning of nouns in WordNet."""

    file: str
    words: list[str]
    parents: list[str]


def classes_of_animals(data: Path, counts: Path) -> Iterator[tuple[str, str]]:
    """Yield names of animals with their classes, from files of WordNet, as wndb(5) describes them.

    A name is a word whose most frequent meaning is an animal. Its class is the nearest more
    general meaning that is in `CLASSES`.

    Args:
        data: `data.noun`, the meanings of nouns.
        counts: `cntlist.rev`, how often words have which meaning in a corpus.
    """
    meanings = dict(
        _meaning(line) for line in data.read_text("utf-8").splitlines() if line[0] > " "
    )
    frequent = _most_frequent_files(counts)
    for meaning in meanings.values():
        found = _class(meaning, meanings)
        if meaning.file != ANIMALS or found is None:
            continue
        for word in meaning.words:
            if frequent.get(word.lower()) == f"1:{ANIMALS}" and word not in CLASSES:
                yield word.replace("_", " "), found


def _meaning(line: str) -> tuple[str, Meaning]:
    """Return the number of a meaning, and the meaning, from a line of `data.noun`."""
    number, file, _, count, *rest = line.partition(" | ")[0].split()
    end = 2 * int(count, 16)
    pointers = rest[end + 1 :]
    parents = [pointers[n + 1] for n in range(0, len(pointers) - 3, 4) if pointers[n] == "@"]
    return number, Meaning(file, rest[:end:2], parents)


def _class(meaning: Meaning, meanings: Mapping[str, Meaning]) -> str | None:
    level = [meaning]
    while level:
        for each in level:
            if each.file == ANIMALS and each.words[0] in CLASSES:
                return CLASSES[each.words[0]]
        level = [meanings[number] for each in level for number in each.parents]
    return None


def _most_frequent_files(counts: Path) -> dict[str, str]:
    """Return the part of speech and the file of the most frequent meaning of each word."""
    found: dict[str, tuple[int, str]] = {}
    for line in counts.read_text("utf-8").splitlines():
        sense, _, count = line.split()
        word, _, place = sense.partition("%")
        found[word] = max(found.get(word, (0, "")), (int(count), place[:4]))
    return {word: file for word, (_, file) in found.items()}


def read_facts(name: str) -> list[Fact]:
    """Return the facts of a topic, in the order of their source.

    Raises:
        ValueError: if there is no such topic, or its source is not installed.
    """
    if name not in TOPICS:
        raise ValueError(f"unknown topic {name!r}: choose from {', '.join(TOPICS)}")
    topic = TOPICS[name]
    try:
        return distinct_facts(topic.read(), shared=topic.shared)
    except (ImportError, OSError) as error:
        raise ValueError(
            f"the facts about {name} cannot be read ({error}): {topic.install}"
        ) from error


def distinct_facts(pairs: Pairs, *, shared: bool = False) -> list[Fact]:
    """Return facts with one answer for each subject, none of which names the other.

    Args:
        pairs: subjects with their answers.
        shared: whether several subjects may have the same answer.

    >>> distinct_facts([("France", "Paris"), ("Mexico", "Mexico City"), ("Nauru", None)])
    [Fact(subject='France', answer='Paris')]
    """
    found = {Fact(subject.strip(), answer.strip()) for subject, answer in pairs if answer}
    subjects, answers = Counter(f.subject for f in found), Counter(f.answer for f in found)
    return sorted(
        fact
        for fact in found
        if subjects[fact.subject] == 1
        and (shared or answers[fact.answer] == 1)
        and not _names_the_other(fact)
    )


def _names_the_other(fact: Fact) -> bool:
    subject, answer = fact.subject.casefold(), fact.answer.casefold()
    # the symbol of an element is a part of many names
    return len(answer) > 2 and (answer in subject or subject in answer)


def texts_of(name: str, facts: Sequence[Fact]) -> list[dict[str, str]]:
    """Return a record for each fact in each template: its text, and what its fact is about.

    The field `completion` has the name that completes the fact, the last one in the text.
    """
    return [
        {
            "text": filled(template, fact),
            "fact": fact.subject,
            "answer": fact.answer,
            "completion": completion(template, fact),
        }
        for fact in facts
        for template in TOPICS[name].templates
    ]


def completion(template: str, fact: Fact) -> str:
    """Return the name of a fact that a template has last.

    >>> completion("{answer} is the capital of {subject}.", Fact("France", "Paris"))
    'France'
    """
    answered = template.index("{answer}") > template.index("{subject}")
    return fact.answer if answered else fact.subject


def filled(template: str, fact: Fact) -> str:
    """Return a template with the names of a fact, which begins with a capital letter.

    >>> filled("The capital of {subject} is", Fact("France", "Paris"))
    'The capital of France is'
    """
    text = template.format(subject=fact.subject, answer=fact.answer)
    return text[0].upper() + text[1:]


def questions_about(
    name: str, facts: Sequence[Fact], seed: int, statement: int = 0
) -> list[dict[str, Any]]:
    """Return a question of multiple choice about each fact, the same for the same seed.

    The field `statement` is the beginning of a sentence that the right choice completes.

    Args:
        name: name of the topic.
        facts: facts of the topic.
        seed: seed of the choices and of their order.
        statement: number of the sentence in the statements of the topic.

    Raises:
        ValueError: if the facts have fewer answers than a question has choices.
    """
    topic, answers = TOPICS[name], sorted({fact.answer for fact in facts})
    if len(answers) < CHOICES:
        raise ValueError(
            f"the {len(facts)} facts about {name} have {len(answers)} answers, and a question has "
            f"{CHOICES} choices: ask about more facts"
        )
    rng, found = np.random.default_rng([seed, len(answers)]), []
    for fact in facts:
        others = [answer for answer in answers if answer != fact.answer]
        drawn = [fact.answer, *rng.choice(others, CHOICES - 1, replace=False)]
        choices = [str(drawn[place]) for place in rng.permutation(CHOICES)]
        found.append(
            {
                "question": topic.question.format(subject=fact.subject),
                "choices": choices,
                "answer": choices.index(fact.answer),
                "subject": name,
                "statement": filled(topic.statements[statement].removesuffix(" {answer}"), fact),
            }
        )
    return found


def choose(facts: Sequence[Fact], count: int | None, seed: int) -> list[Fact]:
    """Return some of the facts, which the seed draws, in their order; all of them for None.

    Raises:
        ValueError: if there are fewer.
    """
    if count is None:
        return list(facts)
    if count > len(facts):
        raise ValueError(
            f"{count} facts of a topic were asked for, and one has {len(facts)}: ask for fewer"
        )
    drawn = np.random.default_rng([seed, 1]).permutation(len(facts))[:count]
    return [facts[number] for number in sorted(drawn)]


def halves_of(facts: Sequence[Fact], seed: int) -> dict[str, list[Fact]]:
    """Return two halves of some facts by name, drawn at random, each in the given order."""
    drawn = np.random.default_rng([seed, len(facts)]).permutation(len(facts))
    middle = (len(facts) + 1) // 2
    parts = (sorted(drawn[:middle]), sorted(drawn[middle:]))
    return {half: [facts[n] for n in part] for half, part in zip(HALVES, parts, strict=True)}
