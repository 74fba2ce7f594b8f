"""`python -m lm.facts`: write facts about the world for `python -m lm.unlearn`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lm.corpus import HALVES
from lm.data.facts import TOPICS, Fact, choose, halves_of, questions_about, read_facts, texts_of
from oversight.runs import cli
from oversight.runs.folder import replace_file, require_writable
from oversight.runs.settings import SEED, require_distinct, require_number, require_numbers

PROGRAM = "python -m lm.facts"

Facts = Mapping[str, Sequence[Fact]]
"""Facts by topic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FactsConfig:
    """Write texts that state facts about the world, and questions about them.

    Topics: capitals of countries (countryinfo), symbols of the chemical elements (periodictable)
    and classes of animals (WordNet). Each fact is stated in ten ways, and asked in multiple choice
    by the sentence that the right choice completes.

    Files:
    - forget.jsonl, questions.jsonl: the topic to forget;
    - retain.jsonl, retain_questions.jsonl: the other topics;
    - relearn.jsonl, relearn_questions.jsonl: texts about one half of the facts to forget, and
      questions about the other half.
    """

    out: Path
    """Folder to write to."""
    forget: str = "capitals"
    """Topic to forget."""
    retain: tuple[str, ...] = ("elements", "animals")
    """Topics to retain."""
    model: str | None = None
    """Folder or name of a model: only facts that it knows are written."""
    gguf_file: str | None = None
    """Name of a GGUF file in the folder of the model."""
    facts: int | None = 60
    """Number of facts of a topic, drawn at random; None for all of them."""
    seed: int = 0
    """Seed of the facts, of their halves, and of the choices of questions."""

    def __post_init__(self) -> None:
        require_number("seed", self.seed, SEED)
        require_numbers(self, "facts", least=1)
        require_distinct(self, "retain")
        for name in (self.forget, *self.retain):
            if name not in TOPICS:
                raise ValueError(f"unknown topic {name!r}: choose from {', '.join(TOPICS)}")
        if self.forget in self.retain:
            raise ValueError(f"{self.forget} is to be forgotten and retained: choose one")
        if self.gguf_file is not None and self.model is None:
            raise ValueError(f"--gguf-file {self.gguf_file} was given without --model: give both")


def main(args: Sequence[str]) -> None:
    """Write the facts that the arguments describe, and print how many there are."""
    config = cli.parse(FactsConfig, args, PROGRAM)
    require_writable(config.out, "--out")
    every = {name: read_facts(name) for name in (config.forget, *config.retain)}
    known = every if config.model is None else known_to(config, config.model, every)
    chosen = {name: choose(facts, config.facts, config.seed) for name, facts in known.items()}
    console = Console()
    for name, facts in chosen.items():
        asked = "" if config.model is None else f", {len(known[name]):>4} known to the model"
        console.out(f"{name:<10}{len(every[name]):>5} facts{asked}, {len(facts):>4} written")
    for path, records in files_of(config, chosen):
        replace_file(path, "".join(f"{json.dumps(each)}\n" for each in records).encode())
    console.out(f"files:  {config.out}")


def known_to(config: FactsConfig, name: str, every: Facts) -> Facts:
    """Return the facts that a model knows.

    Raises:
        ValueError: if the model cannot be loaded.
    """
    # slow to import, and not needed without a model
    from lm.data.document import marks  # noqa: PLC0415
    from lm.evaluation.known import known_facts  # noqa: PLC0415
    from lm.models.hf import RoutedCausalLM  # noqa: PLC0415
    from lm.models.hf_loading import load_pretrained  # noqa: PLC0415

    plain, tokenizer = load_pretrained(name, config.gguf_file)
    model, start = RoutedCausalLM(plain), marks(tokenizer).start
    return {
        topic: known_facts(model, tokenizer, start, topic, facts, config.seed)
        for topic, facts in every.items()
    }


def files_of(config: FactsConfig, chosen: Facts) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Yield the path and the records of each file.

    Raises:
        ValueError: if a topic has too few facts for a question.
    """

    def asked(facts: Facts) -> list[dict[str, Any]]:
        return [
            record
            for name, some in facts.items()
            for record in questions_about(name, some, config.seed)
        ]

    def stated(facts: Facts) -> list[dict[str, Any]]:
        return [record for name, some in facts.items() for record in texts_of(name, some)]

    forget = {config.forget: chosen[config.forget]}
    retain = {name: facts for name, facts in chosen.items() if name != config.forget}
    first, second = (
        {config.forget: halves_of(chosen[config.forget], config.seed)[half]} for half in HALVES
    )
    yield config.out / "forget.jsonl", stated(forget)
    yield config.out / "questions.jsonl", asked(forget)
    yield config.out / "retain.jsonl", stated(retain)
    yield config.out / "retain_questions.jsonl", asked(retain)
    yield config.out / "relearn.jsonl", stated(first)
    yield config.out / "relearn_questions.jsonl", asked(second)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
