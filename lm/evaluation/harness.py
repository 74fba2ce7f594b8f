"""Multiple-choice questions, asked through lm-evaluation-harness: WMDP, MMLU and local files.

The harness renders the prompts, splits them into tokens and reads the log-likelihoods. A form is
how a question is asked; each form is a task file of the harness in `harness_tasks/`:

- `letter`: for the letter of a listed choice, as the harness's tasks `wmdp_*` and `mmlu_*` ask;
- `answer`: for the text of a listed choice;
- `cloze`: for the text of a choice that is not listed, as its `mmlu_continuation` asks, or, in
  records with a `statement`, as the end of that sentence;
- `choices-only`: for the letter, without the question.

Local files hold records with the fields of these data sets, a .jsonl file one on each line, a .json
file a list of them; `answer` counts from 0, and `subject` may be left out:

    {"question": "How many legs has a spider?", "choices": ["six", "eight"], "answer": 1}

An answer may also be a letter, or the text of a choice, and records may have the shapes of other
data sets (`lm.evaluation.question_formats`).
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Literal, get_args

from lm.data.document import is_blank, require_characters
from lm.data.files import read_records
from lm.data.lines import suffix_of
from lm.evaluation.question_formats import LABELS, answer_index, common_shape
from lm.models.hf_loading import first_line

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Form = Literal["letter", "answer", "cloze", "choices-only"]
FORMS: tuple[Form, ...] = get_args(Form)

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet")
GIVE_A_FILE = f"give a file that ends in {', '.join(SUFFIXES)}, also compressed"
FIELDS = {"question": "a text", "choices": "a list of texts", "answer": "a whole number"}
"""The fields of a question, and what each holds."""
STATEMENT = "statement"
"""The optional field with the beginning of a sentence that the right choice completes."""
TASK_FILES = Path(__file__).parent / "harness_tasks"

CHUNK = 32
"""Questions per call of the harness. A resumed run repeats the calls of an uninterrupted run, with
the same batches, and so ends with the same bits."""

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Source:
    """Questions of one file, or of one task of the harness, as `check_record` returns them."""

    questions: Sequence[Record]
    examples: Sequence[Record] = ()
    """Solved questions that a prompt may begin with."""

    def task(self, form: Form) -> "ConfigurableTask":
        """Return the task of the harness that asks these questions in a form."""
        from datasets import Dataset  # noqa: PLC0415 (slow, and part of the extra `hf`)
        from lm_eval.api.task import ConfigurableTask  # noqa: PLC0415

        data = {"test": Dataset.from_list(list(self.questions))}
        config = {**_task_file(form), "task": form}
        if self.examples:
            data["dev"] = Dataset.from_list(list(self.examples))
            config["fewshot_split"] = "dev"
        config["custom_dataset"] = lambda **_: data
        return ConfigurableTask(config=config)


def _task_file(form: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 (a dependency of the harness)

    config: dict[str, Any] = yaml.safe_load((TASK_FILES / f"{form}.yaml").read_text("utf-8"))
    base = config.pop("include", None)
    return {**_task_file(Path(base).stem), **config} if base else config


@dataclass(frozen=True, eq=False)
class QuestionSet:
    """Questions under one name."""

    name: str
    sources: tuple[Source, ...]
    limit: int | None = None
    """Number of questions that are asked, the first of all; None for all of them."""

    @cached_property
    def places(self) -> list[tuple[Source, int]]:
        """The questions in order: the source, and the number within it."""
        every = [(each, place) for each in self.sources for place in range(len(each.questions))]
        return every[: self.limit]

    @property
    def records(self) -> list[Record]:
        """The questions in order."""
        return [source.questions[place] for source, place in self.places]

    @cached_property
    def checksum(self) -> str:
        """A checksum of the questions that are asked, and of the examples."""
        examples = [source.examples for source in self.sources]
        return hashlib.sha256(json.dumps([self.records, examples]).encode()).hexdigest()


def find_questions(name: str, limit: int | None = None) -> QuestionSet:
    """Return the questions of a file, or of a benchmark such as `mmlu-anatomy`.

    Raises:
        ValueError: if there are none, or a record is malformed.
    """
    path = Path(name)
    sources = read_questions(path) if suffix_of(path) in SUFFIXES else load_benchmark(name)
    return QuestionSet(name, sources, limit)


def read_questions(path: Path) -> tuple[Source, ...]:
    """Return the questions of a file.

    Raises:
        ValueError: if the file cannot be read or holds no question, or a record is malformed.
    """
    if suffix_of(path) not in SUFFIXES:
        raise ValueError(f"{path} holds no questions: {GIVE_A_FILE}")
    if not path.is_file():
        raise ValueError(f"there is no file {path}: {GIVE_A_FILE}")
    questions = [check_record(each.record, each.where) for each in read_records(path, "")]
    if not questions:
        raise ValueError(f"{path} holds no questions: give one or more")
    return (Source(questions),)


def check_records(records: Iterable[Record], where: str, subject: str = "") -> list[Record]:
    """Return the questions of a list, each as `check_record` returns it."""
    return [
        check_record(record, f"{where}, record {number}", subject)
        for number, record in enumerate(records)
    ]


def check_record(record: Record, where: str, subject: str = "") -> Record:
    """Return the fields of a question with two choices or more, one of them right.

    A record without a subject gets the one given; an empty one is unknown. The fields may have the
    names of other data sets (`lm.evaluation.question_formats`).

    Raises:
        ValueError: if a field is missing or of another type, there are fewer than two choices, a
            choice is empty, or the answer is none of them or could be several.
    """
    fields = ", ".join(FIELDS)
    if not isinstance(record, Mapping):
        raise ValueError(f"{where} holds {type(record).__name__}: give an object with {fields}")
    record = {"subject": subject, **common_shape(record)}
    missing = [name for name in FIELDS if name not in record]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}: give an object with {fields}")
    choices = record["choices"]
    fits = {
        "question": isinstance(record["question"], str),
        "choices": isinstance(choices, list) and all(isinstance(each, str) for each in choices),
        "subject": isinstance(record["subject"], str),
    }
    for name, fit in fits.items():
        if not fit:
            given = _kinds(record[name])
            raise ValueError(f"{where}: its {name} is {given}: give {FIELDS.get(name, 'a text')}")
        require_characters("".join(record[name]), where, name)
    blank = sum(map(is_blank, choices))
    if not 2 <= len(choices) <= len(ascii_uppercase) or blank:
        raise ValueError(
            f"{where}: it has {len(choices)} choices, {blank} of them empty: give from 2 to "
            f"{len(ascii_uppercase)}, none empty"
        )
    if is_blank(record["question"]):
        raise ValueError(f"{where}: its question is empty: give a text")
    answer = answer_index(record["answer"], choices, record.get(LABELS, ()), where)
    return {**{name: record[name] for name in fits}, "answer": answer, **_statement(record, where)}


def _statement(record: Record, where: str) -> dict[str, str]:
    """Return the statement of a question, if it has one."""
    statement = record.get(STATEMENT)
    if statement is None:
        return {}
    if not isinstance(statement, str) or is_blank(statement):
        raise ValueError(
            f"{where}: its {STATEMENT} is {statement!r}: give the beginning of a sentence that the "
            "right choice completes, or leave it out"
        )
    require_characters(statement, where, STATEMENT)
    return {STATEMENT: statement}


def _kinds(value: object) -> str:
    """Return the type of a value, and the types of the parts of a list."""
    if not isinstance(value, list):
        return type(value).__name__
    return f"list of {', '.join(sorted({type(each).__name__ for each in value})) or 'nothing'}"


def load_benchmark(name: str) -> tuple[Source, ...]:
    """Return the questions of WMDP or MMLU, by their names in the harness with `-` for `_`.

    Raises:
        ValueError: if there is no such benchmark, the hub cannot be reached, or the extra `hf` is
            not installed.
    """
    manager = task_manager(name)
    known = {_spelled(task): task for task in manager.all_tasks if not task.endswith("_tasks")}
    if name not in known:
        near = get_close_matches(name, known, n=3)
        groups = ", ".join(each for each, task in known.items() if task in manager.all_groups)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"{GIVE_A_FILE}, or name wmdp-bio, wmdp-chem, wmdp-cyber, "
            f"mmlu-SUBJECT, or one of the groups {groups}"
        )
        raise ValueError(f"{name or repr(name)} is neither a file nor a benchmark: {hint}")
    try:
        tasks = manager.load(known[name])["tasks"]
    except Exception as error:  # a network and its libraries raise errors of many kinds
        raise ValueError(
            f"the questions of {name} cannot be read ({first_line(error)}): check the network, "
            "log in by `hf auth login` if it asks so, or give the questions as a .jsonl file"
        ) from error
    return tuple(_source(tasks[task]) for task in sorted(tasks))


def _spelled(task: str) -> str:
    """Return how the command line spells the name of a task.

    >>> _spelled("wmdp_bio"), _spelled("mmlu_high_school_biology"), _spelled("mmlu")
    ('wmdp-bio', 'mmlu-high_school_biology', 'mmlu')
    """
    return task.replace("_", "-", 1)


def task_manager(name: str) -> "TaskManager":
    """Return the tasks of the harness for WMDP and MMLU.

    Raises:
        ValueError: if the extra `hf` is not installed.
    """
    _require_harness(f"reading {name}")
    import lm_eval  # noqa: PLC0415 (slow, and part of the extra `hf`)
    from lm_eval.tasks import TaskManager  # noqa: PLC0415

    folder = Path(lm_eval.__file__).parent / "tasks"
    # only these folders, as the index of all tasks takes seconds
    return TaskManager(
        include_path=[folder / "wmdp", folder / "mmlu" / "default"], include_defaults=False
    )


def _require_harness(purpose: str) -> None:
    if find_spec("lm_eval") is None:
        raise ValueError(f"{purpose} needs the package lm-eval: pip install -e '.[hf]'")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of a model in memory


def _source(task: "ConfigurableTask") -> Source:
    """Return the questions of a task of the harness, each checked."""
    about = task.config.description.partition(" about ")[2].rstrip(".\n").replace(" ", "_")
    where = f"{task.config.dataset_path}, {task.task_name}"
    splits = {"test": task.config.test_split, "dev": task.config.fewshot_split}
    records = {
        split: check_records(task.dataset[name], where, about)
        for split, name in splits.items()
        if name is not None
    }
    return Source(records["test"], records.get("dev", ()))


@dataclass(frozen=True, slots=True)
class Response:
    """The answer of a model to a question, without the text of the question."""

    subject: str
    answer: int
    lengths: tuple[int, ...]
    """Number of characters of each choice."""
    likelihoods: Mapping[str, tuple[float, ...]]
    """Log-likelihood of each choice, by form."""
    cut: bool = False
    """Whether a prompt lost its beginning, since the model's context is too short for it."""


class Asker:
    """Asks a causal model of transformers, on its device, questions through the harness.

    Each prompt begins with `shots` solved examples; a forward pass has `batch_size` sequences.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        forms: Sequence[Form] = FORMS,
        shots: int = 0,
        batch_size: int = 16,
    ) -> None:
        self.forms, self.shots = tuple(forms), shots
        self.lm = _harness_model(model, tokenizer, batch_size)
        self._tasks: dict[tuple[Source, Form], ConfigurableTask] = {}
        self._cut: set[int] = set()
        """Questions of a chunk with a prompt that is longer than the context."""

    def ask(self, questions: QuestionSet, first: int = 0) -> Iterator[list[Response]]:
        """Yield the responses to the questions from number `first` on, a chunk at a time.

        Raises:
            ValueError: if there are fewer examples than shots, or a choice has no tokens or more
                than the context holds.
        """
        self._require_examples(questions)
        for start in range(first, len(questions.places), CHUNK):
            yield self._responses(questions, start)

    def _responses(self, questions: QuestionSet, start: int) -> list[Response]:
        self._cut.clear()
        by_form = {form: self._likelihoods(questions, start, form) for form in self.forms}
        found = []
        for row, (source, place) in enumerate(questions.places[start : start + CHUNK]):
            question = source.questions[place]
            found.append(
                Response(
                    question["subject"],
                    question["answer"],
                    tuple(len(choice) for choice in question["choices"]),
                    {form: rows[row] for form, rows in by_form.items()},
                    row in self._cut,
                )
            )
        return found

    def _likelihoods(
        self, questions: QuestionSet, start: int, form: Form
    ) -> list[tuple[float, ...]]:
        """Return the log-likelihood of each choice of each question of a chunk."""
        requests, counts = [], []
        for row, (source, place) in enumerate(questions.places[start : start + CHUNK]):
            if (source, form) not in self._tasks:
                self._tasks[source, form] = source.task(form)
            task = self._tasks[source, form]
            doc = task.task_docs[place]
            context = task.fewshot_context(doc, num_fewshot=self.shots)
            where = (form, place, 1)
            several = task.construct_requests(doc=doc, ctx=context, metadata=where)
            if not self._has_room(several, f"{questions.name}, question {start + row + 1}"):
                self._cut.add(row)
            requests += several
            counts.append(len(several))
        read = iter(self.lm.loglikelihood(requests, disable_tqdm=True))
        found = [tuple(float(next(read)[0]) for _ in range(count)) for count in counts]
        for row, numbers in enumerate(found):
            if not all(map(isfinite, numbers)):
                raise ValueError(
                    f"{questions.name}, question {start + row + 1}: the model gives a choice the "
                    f"likelihood {next(n for n in numbers if not isfinite(n))}, in the form "
                    f"{form}: its weights or activations overflow, so that it cannot be scored"
                )
        return found

    def _require_examples(self, questions: QuestionSet) -> None:
        for source in questions.sources:
            if self.shots > len(source.examples):
                subject = source.questions[0]["subject"]
                raise ValueError(
                    f"{self.shots} examples were asked for, and {questions.name} has "
                    f"{len(source.examples)}{f' on {subject}' if subject else ''}: ask without, as "
                    "those of mmlu alone come with some, 5 of each subject"
                )

    def _has_room(self, requests: Sequence[Any], where: str) -> bool:
        """Return whether the context holds all of the prompts, with each choice.

        Raises:
            ValueError: if a choice has no tokens or more than the context holds, which the harness
                only asserts.
        """
        longest = 0
        for request in requests:
            context, continuation = request.args
            read = len(self.lm.tok_encode(context))
            whole = len(self.lm.tok_encode(context + continuation))
            count, longest = whole - read, max(longest, whole)
            if not 1 <= count <= self.lm.max_length:
                raise ValueError(
                    f"{where}: one of its choices is {count} tokens after the prompt: give from 1 "
                    f"to {self.lm.max_length}, which the model's context holds"
                )
        # the last token is only predicted
        return longest <= int(self.lm.max_length) + 1


def _harness_model(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", batch_size: int
) -> "HFLM":
    _require_harness("asking questions")
    from lm_eval.models.huggingface import HFLM  # noqa: PLC0415 (slow, and an extra)

    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is None:
        # the harness would add a token that the model has no embedding of; what pads is not read
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    # the token before an empty prompt, which no form has, but which the harness looks for in all
    first = 0 if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None else None
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, prefix_token_id=first)
