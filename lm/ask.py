"""`python -m lm.ask`: score a model on multiple-choice questions."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from lm.evaluation.harness import FORMS, Asker, Form, QuestionSet, find_questions
from lm.evaluation.question_formats import repeats
from lm.evaluation.question_scores import Results, cut_line, fingerprint, scores, scores_table
from lm.models.hf_loading import load_pretrained
from oversight.runs import cli
from oversight.runs.settings import require_numbers

PROGRAM = "python -m lm.ask"
PLAIN = "plain"
"""The subfolder of a finished run that holds its plain model."""
SECONDS = 20.0
"""Time between two writings of the results."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AskConfig:
    """Ask a model multiple-choice questions, and print its scores.

    Questions:
    - wmdp-bio, wmdp-chem, wmdp-cyber, or wmdp for all three;
    - mmlu, or mmlu-SUBJECT for one of its subjects;
    - mmlu-humanities, mmlu-other, mmlu-social_sciences, mmlu-stem: its categories;
    - FILE.jsonl, FILE.json: records of question, choices, answer (from 0), optionally subject.

    Prompts and log-likelihoods are those of lm-evaluation-harness.
    """

    model: str
    """Folder or name of the model; for a finished run of lm.unlearn, the folder of the run."""
    questions: tuple[str, ...]
    """Files, or names of benchmarks."""
    gguf_file: str | None = None
    """Name of a GGUF file in the folder of the model."""
    forms: tuple[Form, ...] = FORMS
    """Ways to ask: for the letter of a listed choice, for its text, for the text of a choice that
    is not listed (cloze), and for the letter without the question (choices-only)."""
    shots: int = 0
    """Number of solved examples in each prompt; only mmlu comes with examples."""
    limit: int | None = None
    """Number of questions to ask of each set, from its first on; by default all."""
    batch_size: int = 16
    """Number of sequences in a forward pass."""
    out: Path | None = None
    """Results file, .json. If the command is interrupted, the same command resumes from it."""

    def __post_init__(self) -> None:
        require_numbers(self, "shots", least=0)
        require_numbers(self, "batch_size", "limit", least=1)
        for name in ("questions", "forms"):
            if not getattr(self, name):
                raise ValueError(f"--{name} is empty: name one or more")


def main(args: Sequence[str]) -> None:
    """Ask the questions that the arguments name, and print a table for each set."""
    config = cli.parse(AskConfig, args, PROGRAM)
    _require_writable(config.out)
    sets = [find_questions(name, config.limit) for name in dict.fromkeys(config.questions)]
    asker, results = prepare(config)
    errors = Console(stderr=True)
    with Progress(console=errors, disable=not errors.is_terminal) as progress:
        for questions in sets:
            ask(asker, questions, results, progress)
    console = Console()
    for questions in sets:
        title, responses = (
            f"{questions.name}, asked of {config.model}",
            results.responses(questions),
        )
        console.print(scores_table(title, scores(responses)))
        lines = repeats([source.questions[place] for source, place in questions.places])
        for line in filter(None, [cut_line(responses), *lines]):
            console.out(line, highlight=False)
    if config.out is not None:
        console.out(f"results:  {config.out}", highlight=False)


def prepare(config: AskConfig) -> tuple[Asker, Results]:
    """Load the model, onto a GPU if there is one, and the results so far.

    Raises:
        ValueError: if the model cannot be loaded, or the results are of another one.
    """
    folder = Path(config.model) / PLAIN
    model, tokenizer = load_pretrained(
        folder if folder.is_dir() else config.model, config.gguf_file
    )
    forms = tuple(dict.fromkeys(config.forms))
    settings: dict[str, Any] = {
        "model": config.model,
        "gguf_file": config.gguf_file,
        "weights": fingerprint(model),
        "forms": forms,
        "shots": config.shots,
        "batch_size": config.batch_size,
    }
    results = Results(settings, config.out)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return Asker(model, tokenizer, forms, config.shots, config.batch_size), results


def ask(asker: Asker, questions: QuestionSet, results: Results, progress: Progress) -> None:
    """Ask the questions without a response, and write the results every `SECONDS` and at the end.

    Args:
        asker: asks the model.
        questions: the set of questions.
        results: the responses so far, to which the new ones are added.
        progress: the display to which the number of asked questions is reported.
    """
    responses = results.responses(questions)
    total, written = len(questions.places), time.monotonic()
    task = progress.add_task(questions.name, total=total, completed=len(responses))
    if len(responses) == total:
        return
    try:
        for chunk in asker.ask(questions, len(responses)):
            responses += chunk
            progress.update(task, completed=len(responses))
            if time.monotonic() - written > SECONDS:
                results.keep(questions, responses)
                written = time.monotonic()
    finally:
        if responses:
            results.keep(questions, responses)


def _require_writable(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix != ".json" or not out.parent.is_dir() or out.is_dir():
        raise ValueError(f"--out is {out}: give a .json file in a folder that exists")


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
