"""`unlearn`: any causal language model, any texts, one call.

The call runs the same study as `python -m lm.unlearn --model ... --forget ... --retain ...`. Model,
texts and questions are first written into the folder of the study, so that the same call with the
same folder resumes an interrupted study, and with other inputs is refused.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table

from configs.lm import PRESETS
from lm.config import MAY_CHANGE, StudyConfig
from lm.data.document import Document
from lm.data.records import TEXT, value_of
from lm.data.sources import read_documents
from lm.evaluation.harness import check_records
from lm.evaluation.question_scores import fingerprint
from lm.jobs import jobs_of
from lm.methods import BASE, GOLD, follow_training, require_methods
from lm.models.hf_loading import load_pretrained, save_pretrained
from lm.run import PLAIN
from lm.study import CARD, execute_jobs, prepare_study, write_report
from lm.texts import restore_sizes
from oversight.runs import cli
from oversight.runs.folder import (
    RunFolder,
    read_config,
    refuse_changes,
    replace_file,
    require_writable,
    write_config,
)
from oversight.runs.parallel import locked

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

INPUTS = "inputs"
"""The folder of the model, texts and questions that were given, within that of the study."""
OWN = ("retain_questions", "relearn", "relearn_questions", "forget_field")
"""Settings that say what is in texts and questions, or are some."""
COMMAND_ONLY = {"data", "dry_run", "precisions", "recalls", "sweep"}
"""Settings that `python -m lm.unlearn` has, and a call has not."""
WIDTH = 100
"""Characters of a line of the table."""


@dataclass(frozen=True, eq=False)
class Unlearned:
    """What `unlearn` returns."""

    model: "PreTrainedModel"
    """The unlearned model, plain and in float32: that of the first method that was given."""
    tokenizer: "PreTrainedTokenizerBase"
    table: str
    """The table of all methods: losses and facts before and after unlearning, and under attack."""
    verdict: str
    """The comparison of the methods in a sentence."""
    card: str
    """The model card, as Markdown."""
    folder: Path
    """The folder of the study, with all models under `runs`."""


def unlearn(
    model: "PreTrainedModel | str | Path",
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    *,
    forget: object,
    retain: object,
    method: str | Sequence[str] = "lora-pair",
    questions: object = None,
    **settings: Any,  # noqa: ANN401
) -> Unlearned:
    """Remove what a causal language model learns, or already knows, of some texts.

    Routed methods such as `lora-pair` train a copy of the model on all texts, and remove the part
    that has learned those to forget: for texts that the model is to be trained on. The methods
    `rmu`, `graddiff`, `npo` and `simnpo` by themselves change the model as it is: for texts that it
    already knows. With routed methods in the same call, they follow training on all texts.

    The references that the verdict needs run as well, so that the default trains three models:
    `gold`, without the texts to forget, `unrouted`, on all texts, and `lora-pair`. A model as it is
    has no `gold`, and is itself `unrouted`. Each of them is attacked.

    Args:
        model: a causal model of transformers, which stays unchanged, or the name or folder of one.
        tokenizer: its tokenizer; a name or folder has its own.
        forget: texts to forget: a list of texts or of records, a data set, or paths of files.
        retain: texts to retain, in the same forms.
        method: one of `lm.methods.METHODS`, or several.
        questions: multiple-choice questions about what is to be forgotten: a list of records with
            question, choices and answer, a file of them, or the name of a benchmark.
        **settings: settings of `python -m lm.unlearn` by the names of their flags with underscores,
            such as `seeds=(0, 1)` or `**{"loop.steps": 100}`. `run_dir` is the folder of the study,
            by default a temporary one; `retain_questions` and `relearn_questions` have the same
            forms as `questions`, and `relearn` has those of `forget`.

    Raises:
        ValueError: if the model, a text, a question or a setting is not supported, the texts are
            too few, or a run fails.
    """
    methods = (method,) if isinstance(method, str) else tuple(method)
    require_methods(methods)
    for name in COMMAND_ONLY & settings.keys():
        raise ValueError(f"{name} was given, which is a setting of the command alone: leave it out")
    chosen: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()
    }
    file, run_dir = chosen.pop("gguf_file", None), chosen.pop("run_dir", None)
    own = {name: chosen.pop(name, None) for name in OWN}
    _study(methods, chosen)  # refuses unknown settings before a model is loaded or written
    plain, tokenizer = _loaded(model, tokenizer, file)
    with _folder(run_dir) as path:
        inputs = Inputs(path / INPUTS, chosen.get("text_field"), own["forget_field"])
        given = {"forget": forget, "retain": retain, "questions": questions, **own}
        values = {
            **inputs.all(given, tokenizer),
            "model": inputs.model(plain, tokenizer),
            "run_dir": path,
        }
        study, folder = _prepared(_study(methods, {**chosen, **values}), RunFolder(path))
        write_config(folder, study)
        return _result(study, folder, methods[0])


def _loaded(
    model: object, tokenizer: "PreTrainedTokenizerBase | None", gguf_file: str | None
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Return a model and its tokenizer, given themselves or by name.

    Raises:
        ValueError: if the model cannot be loaded or is of another kind, or has no tokenizer.
    """
    from transformers import PreTrainedModel  # noqa: PLC0415 (an extra)

    if isinstance(model, str | Path):
        return load_pretrained(model, gguf_file)
    if not isinstance(model, PreTrainedModel):
        raise ValueError(
            f"a {type(model).__name__} was given as the model: give a causal model of "
            "transformers, or the name or folder of one; merge adapters by `merge_and_unload`"
        )
    if tokenizer is None:
        raise ValueError("a model was given without its tokenizer: give both, or a folder")
    return model, tokenizer


@contextmanager
def _folder(run_dir: "str | Path | None") -> Iterator[Path]:
    """Yield the locked folder of a study; a temporary one is removed if no study begins in it."""
    path = Path(run_dir or mkdtemp(prefix="unlearn-"))
    require_writable(path)
    try:
        with locked(path):
            yield path
    finally:
        if run_dir is None and not RunFolder(path).config.exists():
            shutil.rmtree(path)


def _study(methods: Sequence[str], values: Mapping[str, Any]) -> StudyConfig:
    """Return the settings of a study of methods and of the references that they need."""
    _, preset = PRESETS["known" if follow_training(methods) else "texts"]
    study = cli.override(StudyConfig(), {**preset, **values})
    references = (GOLD, BASE) if study.run.loop.steps else (BASE,)
    return replace(study, method=tuple(dict.fromkeys((*references, *methods))))


def _prepared(study: StudyConfig, folder: RunFolder) -> tuple[StudyConfig, RunFolder]:
    """Return the study of a folder, a new one or that which it holds.

    Raises:
        ValueError: if the folder holds a study with other settings.
    """
    if not folder.config.exists():
        return prepare_study(study, None)
    stored = read_config(folder, StudyConfig)
    study = replace(study, run=restore_sizes(study.run, folder.path))
    refuse_changes(cli.named_values(stored), cli.named_values(study), {*MAY_CHANGE, "data"})
    return prepare_study(study, folder)


def _result(study: StudyConfig, folder: RunFolder, method: str) -> Unlearned:
    """Execute the runs of a study, and return the result of one of its methods.

    Raises:
        ValueError: if a run fails.
    """
    jobs, failed = jobs_of(study, folder.path), dict[str, str]()
    with _same_threads():
        execute_jobs(study, jobs, failed)
    report = write_report(study, jobs, folder, failed)
    for name, error in failed.items():
        raise ValueError(f"{name}: {error}; the other runs are in {folder.path}")
    (table,) = report.tables  # all runs are finished, and nothing is swept
    run = folder.path / "runs" / f"{method}-seed{study.seeds[0]}"
    plain, tokenizer = load_pretrained(run / PLAIN)
    return Unlearned(
        model=plain,
        tokenizer=tokenizer,
        table=_printed(table),
        verdict=report.verdict,
        card=(run / CARD).read_text("utf-8"),
        folder=folder.path,
    )


def _printed(table: Table) -> str:
    """Return a table as text."""
    page = StringIO()
    Console(file=page, width=WIDTH).print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


@contextmanager
def _same_threads() -> Iterator[None]:
    """Restore the number of threads of PyTorch, which runs set to one."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _words_of(document: Document, field: str) -> dict[str, Any]:
    """Return the words to forget of a document by their field, or nothing if it lacks them."""
    try:
        return {field: value_of(document.fields, field)}
    except KeyError:
        return {}


@dataclass(frozen=True)
class Inputs:
    """The folder of what was given, in files that a study reads.

    Raises:
        ValueError: if a file is there already with other content.
    """

    folder: Path
    text_field: str | None
    forget_field: str | None = None

    def model(self, plain: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> str:
        """Write a model with its tokenizer, and return its folder."""
        name = re.sub(r"[^\w.-]", "", Path(plain.name_or_path).name) or "model"
        path = self.folder / name
        self._keep("model.txt", f"{fingerprint(plain)}\n")
        if not path.exists():
            save_pretrained(plain, tokenizer, path)
        return str(path)

    def all(self, given: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
        """Write all texts and questions that were given, and return the settings that name them."""
        texts = {
            name: self.texts(name, given[name], tokenizer)
            for name in ("forget", "retain", "relearn")
            if given[name] is not None
        }
        asked = ("questions", "retain_questions", "relearn_questions")
        return {
            "forget_field": self.forget_field,
            **texts,
            **{name: self.questions(name, given[name]) for name in asked},
        }

    def texts(
        self, name: str, source: object, tokenizer: "PreTrainedTokenizerBase"
    ) -> tuple[Path, ...]:
        """Write texts or conversations as JSON lines, and return the path of the file."""
        field = self.text_field or TEXT
        lines = []
        for document in read_documents(source, self.text_field, tokenizer):
            value: object = document.text
            if document.messages is not None:
                value = document.fields.get("messages") or value_of(document.fields, field)
            named = self.forget_field if name == "forget" else None
            words = {} if named is None else _words_of(document, named)
            lines.append(json.dumps({field: value, **words}))
        return (self._keep(f"{name}.jsonl", "".join(f"{line}\n" for line in lines)),)

    def questions(self, name: str, given: object) -> str | None:
        """Write questions as JSON lines, and return the path of the file; names stay names."""
        if given is None or isinstance(given, str | os.PathLike):
            return None if given is None else str(given)
        records = list(given) if isinstance(given, Iterable) else []
        if not records:
            raise ValueError(f"{name} are {given!r}: give a list of questions, or a file of them")
        lines = [json.dumps(record) for record in check_records(records, name)]
        return str(self._keep(f"{name}.jsonl", "".join(f"{line}\n" for line in lines)))

    def _keep(self, name: str, content: str) -> Path:
        path, data = self.folder / name, content.encode()
        if path.exists() and path.read_bytes() != data:
            raise ValueError(
                f"{self.folder.parent} holds a study of another {path.stem}: choose another "
                "run_dir, or remove it"
            )
        self.folder.mkdir(exist_ok=True)
        replace_file(path, data)
        return path
