"""`python -m lm.ask`: what a model scores on multiple-choice benchmarks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lm.benchmarks.questions import SUFFIXES, QuestionSet, load_benchmark, read_questions
from lm.benchmarks.results import Results, fingerprint, scores, scores_table
from lm.benchmarks.scoring import Asked, Asker, Encoder
from lm.models.hf import RoutedCausalLM
from lm.models.hf_loading import load_pretrained
from oversight.runs import cli
from oversight.runs.console import print_line

PROGRAM = "python -m lm.ask"
PLAIN = "plain"
"""Where a finished run has its plain model."""
Form = Literal["letter", "answer", "cloze", "control"]
SECONDS = 20.0
"""Time between two writings of the results."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AskConfig:
    """Ask a model multiple-choice questions, and print what it scores.

    Questions:
    - wmdp-bio, wmdp-chem, wmdp-cyber: of the hub's cais/wmdp;
    - mmlu, mmlu-SUBJECT: of the hub's cais/mmlu;
    - mmlu-humanities, mmlu-other, mmlu-social_sciences, mmlu-stem: its categories;
    - FILE.jsonl, FILE.json: records with question, choices, answer (from 0), and perhaps subject.
    """

    model: str
    """Folder or name of the model; of a finished run of lm.unlearn, its folder."""
    questions: tuple[str, ...]
    """Files, or names of benchmarks."""
    gguf_file: str | None = None
    """Name of a GGUF file in it."""
    forms: tuple[Form, ...] = ("letter", "answer", "cloze", "control")
    """Ways to ask: for the letter, for the text of a listed choice, for a text that is not listed,
    for the letter without the question."""
    shots: int = 0
    """Solved examples in each prompt, which mmlu has."""
    limit: int | None = None
    """Questions of each set to ask, the first; by default all."""
    batch_size: int = 16
    """Rows that are read at a time."""
    out: Path | None = None
    """File of results, .json; called again after a kill, the command goes on from it."""

    def __post_init__(self) -> None:
        least = {"shots": (self.shots, 0), "batch-size": (self.batch_size, 1)}
        if self.limit is not None:
            least["limit"] = (self.limit, 1)
        for name, (number, low) in least.items():
            if number < low:
                raise ValueError(f"--{name} is {number}: give {low} or more")
        for name in ("questions", "forms"):
            if not getattr(self, name):
                raise ValueError(f"--{name} is empty: name one or more")


def main(args: Sequence[str]) -> None:
    """Ask as the arguments say."""
    config = cli.parse_simple(AskConfig, args, PROGRAM)
    _require_writable(config.out)
    sets = [find_questions(name).first(config.limit) for name in dict.fromkeys(config.questions)]
    asker, results = prepare(config)
    progress = _progress(Console(stderr=True))
    with progress:
        for questions in sets:
            ask(asker, questions, results, progress)
    console = Console()
    for questions in sets:
        title = f"{questions.name}, asked of {config.model}"
        console.print(scores_table(title, scores(results.asked(questions))))
    if config.out is not None:
        print_line(console, f"results:  {config.out}")


def find_questions(name: str) -> QuestionSet:
    """Return the questions of a file, or of a benchmark.

    Raises:
        ValueError: if there are none.
    """
    path = Path(name)
    return read_questions(path) if path.suffix in SUFFIXES else load_benchmark(name)


def prepare(config: AskConfig) -> tuple[Asker, Results]:
    """Return what asks the model, on a GPU if there is one, and the results so far.

    Raises:
        ValueError: if the model cannot be loaded, or the results are of another one.
    """
    folder = Path(config.model) / PLAIN
    plain, tokenizer = load_pretrained(
        folder if folder.is_dir() else config.model, config.gguf_file
    )
    model = RoutedCausalLM(plain).eval()
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
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    encoder = Encoder(tokenizer, model.context)
    return Asker(model, encoder, forms, config.shots, config.batch_size), results


def ask(asker: Asker, questions: QuestionSet, results: Results, progress: Progress) -> None:
    """Ask what was not asked yet, and keep the results: now and then, and in the end."""
    asked: list[Asked] = results.asked(questions)
    total, written = len(questions.questions), time.monotonic()
    task = progress.add_task(questions.name, total=total, completed=len(asked))
    if len(asked) == total:
        return
    try:
        for chunk in asker.ask(questions, len(asked)):
            asked += chunk
            progress.update(task, completed=len(asked))
            if time.monotonic() - written > SECONDS:
                results.keep(questions, asked)
                written = time.monotonic()
    finally:
        if asked:
            results.keep(questions, asked)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.completed}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, disable=not console.is_terminal)


def _require_writable(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix != ".json" or not out.parent.is_dir() or out.is_dir():
        raise ValueError(f"--out is {out}: give a .json file in a folder that is there")


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
