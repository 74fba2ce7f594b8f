"""Language models: every method, on stories, on documents and on pretrained models.

- Nearly all cases run the commands, and hash the files that these write.
- A study that several cases read is run once, by a function with a cache.
- What scikit-learn and lm-evaluation-harness may change has cases of its own, whose names begin
  with `lm/classifier/`, `lm/probe/` and `lm/ask/`.

As a program, `python -m tests.equality.lm` prints as JSON what no command prints: stories, their
tokens, and classified stories; a case starts it in the checkout under test.
"""

import atexit
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from tests.equality import lm_inputs
from tests.equality.hashing import (
    Case,
    Digests,
    array_digest,
    hashed,
    leaves,
    numbers,
    read_json,
    read_scalars,
    read_tensors,
    tensor_digests,
)
from tests.equality.names import load, renamed
from tests.equality.processes import kill_at_checkpoint, run_driver, run_module

METHODS = (
    *("gold", "filtered", "filtered-tokens", "unrouted", "unrouted-ablated", "random-region"),
    *("rmu", "graddiff", "npo", "simnpo", "era", "parameters", "parameters-tokens", "modules"),
)
CLASSIFIED = ("filtered-judged", "parameters-judged", "modules-judged", "modules-rmu")
PRETRAINED = ("unrouted", "era", "parameters", "modules", "rmu", "lora-pair")
PRETRAINED_CLASSIFIED = ("lora-pair-judged",)
BY_TOKEN = ("filtered-tokens", "parameters-tokens", "modules")
ATTACKED = ("filtered", "modules")

SMOKE = (
    *("--config", "smoke", "--workers", 1),
    *("--exam.questions", 4, "--exam.calibration.steps", 5),
)
ON_DOCUMENTS = ("--task.stories", 40, "--exam.stories", 3)
TINY_MODEL = ("--rmu.layer", 1, "--adapters.rank", 2)
LABELERS: dict[str, tuple[object, ...]] = {
    "keywords": ("--words", "forest", "virus"),
    "tokens": ("--words", " forest", " cell"),
    "field": ("--field", "topic", "--forget-values", "sea", "--retain-values", "cell", "tree"),
    "scores": ("--field", "score", "--low", 0.3, "--high", 0.6),
    "list": (),
}
FORMS = ("letter", "answer", "cloze", "control")
DRAWN = 1000
"""Stories that the driver draws."""
SAMPLE_LENGTH = 60
"""Characters from which on a text in a result is one that a model wrote, and not a name."""
COSTS = r"(?i)second|speed|memory"
"""Matches numbers that depend on the clock and the machine."""
NO_RESULTS = rf"{COSTS}|^(study|config|settings)\."


def cases() -> dict[str, Case]:
    """Return all cases, which share one folder and need none of their own."""
    every: dict[str, Callable[[], Digests]] = {
        "stories": partial(trained, "stories", METHODS),
        "classifier/stories": partial(trained, "stories", CLASSIFIED),
        "documents": partial(trained, "documents", METHODS),
        "classifier/documents": partial(trained, "documents", CLASSIFIED),
        "documents-by-token": partial(trained, "tokens", BY_TOKEN),
        "pretrained/gpt_neo": partial(trained, "gpt_neo", PRETRAINED),
        "pretrained/qwen2": partial(trained, "qwen2", PRETRAINED),
        "pretrained/llama": partial(trained, "llama", PRETRAINED),
        "classifier/pretrained": partial(trained, "llama", PRETRAINED_CLASSIFIED),
        "attacks/full": partial(trained, "full", ATTACKED, without="probe"),
        "probe/full": probes,
        "sweep": sweep,
        "resumed": resume,
        "scale/accumulate": partial(trained, "accumulated", ("era",)),
        "scale/ddp": partial(train_in_parallel, "ddp"),
        "scale/fsdp": partial(train_in_parallel, "fsdp"),
        "corpus": lambda: {name: hashed([drawn()[name]]) for name in ("stories", "tokenizer")},
        "classifier/labels": lambda: dict(drawn()["classified"]),
        **{f"prepare/{labeler}": partial(shards, labeler) for labeler in LABELERS},
        **{f"ask/{form}": partial(ask, form) for form in FORMS},
    }
    return {f"lm/{name}": partial(_without_folder, run) for name, run in every.items()}


def _without_folder(run: Callable[[], Digests], _: Path) -> Digests:
    return run()


@cache
def workspace() -> Path:
    """Return a folder that lasts as long as this process."""
    folder = tempfile.mkdtemp(prefix="equality-")
    atexit.register(shutil.rmtree, folder)
    return Path(folder)


@cache
def drawn() -> dict[str, Any]:
    """Return the output of the driver: stories, their tokenizer, and classified stories."""
    return run_driver("lm")


@cache
def document_file() -> Path:
    """Write the documents that are prepared, and return their file."""
    return lm_inputs.write_documents(workspace() / "documents.jsonl")


@cache
def pretrained(family: str, of_stories: bool = False) -> Path:
    """Return the folder of a tiny model, with the tokenizer of stories or of documents."""
    if of_stories:
        tokenizer, end = Tokenizer.from_str(drawn()["tokenizer"]), drawn()["end"]
    else:
        tokenizer, end = lm_inputs.document_tokenizer(document_file()), lm_inputs.END
    return lm_inputs.save_model(family, tokenizer, end, workspace() / f"{family}-{of_stories}")


@cache
def prepared(labeler: str) -> Path:
    """Return the folder of documents that a labeler labeled."""
    folder, options = workspace() / f"prepared-{labeler}", LABELERS[labeler]
    if labeler == "list":
        options = ("--labels", lm_inputs.write_labels(workspace() / "labels.txt"))
    args = ("--data", document_file(), "--tokenizer", pretrained("llama"), "--out", folder)
    sizes = ("--context", 40, "--shard-tokens", 4000)
    run_module("lm.prepare", *args, *sizes, "--labeler", labeler, *options)
    return folder


def shards(labeler: str) -> Digests:
    """Prepare documents, and hash each file of the shards."""
    files = prepared(labeler).glob("*.bin")
    return {"shards": sorted(hashed([path.read_bytes().hex()]) for path in files)}


DOCUMENTS = (*ON_DOCUMENTS, "--data")
STUDIES: dict[str, tuple[Sequence[str], Callable[[], Sequence[object]]]] = {
    "stories": ((*METHODS, *CLASSIFIED), lambda: ()),
    "documents": ((*METHODS, *CLASSIFIED), lambda: (*DOCUMENTS, prepared("scores"))),
    "tokens": (BY_TOKEN, lambda: (*DOCUMENTS, prepared("tokens"))),
    "gpt_neo": (PRETRAINED, lambda: model_on_documents("gpt_neo")),
    "qwen2": (PRETRAINED, lambda: model_on_documents("qwen2")),
    "llama": (
        (*PRETRAINED, *PRETRAINED_CLASSIFIED),
        lambda: (*TINY_MODEL, "--model", pretrained("llama", of_stories=True)),
    ),
    "full": (ATTACKED, lambda: ("--attack", "full")),
    "accumulated": (
        ("era",),
        lambda: ("--loop.scale.accumulate", 2, "--loop.scale.checkpoint-activations"),
    ),
    "sweep": (
        ("era",),
        lambda: (
            *("--sweep", "labels", "--label-precision", 0.8, "--label-errors", "topic"),
            *("--recalls", 0.5, 1.0, "--seeds", 0, 1),
        ),
    ),
}
"""From a study to its methods and a function that returns its other arguments."""


def model_on_documents(family: str) -> Sequence[object]:
    """Return the arguments of a study that trains a pretrained model further, on documents."""
    return (*DOCUMENTS, prepared("field"), *TINY_MODEL, "--model", pretrained(family))


@cache
def study(name: str) -> tuple[Path, str]:
    """Run a study of seconds, and return its folder and the output of the command."""
    folder, (methods, arguments) = workspace() / name, STUDIES[name]
    args = ("--run-dir", folder, "--method", *methods, *arguments())
    return folder, run_module("lm.unlearn", *SMOKE, *args)


def trained(name: str, methods: Iterable[str], without: str = "") -> Digests:
    """Return the digests of a study's runs by some methods, without the metrics of an attack."""
    folder, _ = study(name)
    return study_digests(folder, methods, without)


def probes() -> Digests:
    """Return the results of probes in the study of all attacks."""
    folder, _ = study("full")
    results = {method: read_json(run_folder(folder, method) / "result.json") for method in ATTACKED}
    return {method: metrics(attack_rows(result, "probe")) for method, result in results.items()}


def sweep() -> Digests:
    """Return the digests of a sweep's runs, of their summary and of the printed verdict."""
    folder, printed = study("sweep")
    runs = [read_json(path) for path in (folder / "runs").glob("*/result.json")]
    lines = [line for line in printed.splitlines() if str(folder) not in line]
    return {
        "weights": weights(folder),
        "metrics": sorted(number for run in runs for number in metrics(run)),
        "summary": metrics(read_json(folder / "summary.json")),
        "printed": sorted(re.findall(r"-?\d+\.\d+|\d+%", "\n".join(lines))),
    }


def train_in_parallel(kind: str) -> Digests:
    """Train by two processes together."""
    folder = workspace() / kind
    args = (*SMOKE, "--run-dir", folder, "--method", "modules", "--loop.scale.parallel", kind)
    launch = ("--standalone", "--nproc-per-node", 2, "-m", "lm.unlearn")
    # Gloo may abort a process at its exit, when all results are written.
    run_module("torch.distributed.run", *launch, *args, codes=(0, 1))
    return study_digests(folder, ("modules",))


def resume() -> Digests:
    """Resume a study that was killed, and hash its checkpoint and its results."""
    folder = workspace() / "resumed"
    loop = ("--loop.steps", 90, "--loop.warmup", 5, "--loop.checkpoint-every", 70)
    args = (*SMOKE, *loop, "--batch-size", 2, "--expansion", 4, "--run-dir", folder)
    path = kill_at_checkpoint(folder, "*.pt", "lm.unlearn", *args, "--method", "parameters")
    checkpoint = tensor_digests(read_tensors(path))
    if list(folder.rglob("*.safetensors")):
        raise RuntimeError("the study finished training before it was killed")
    run_module("lm.unlearn", "--workers", 1, "--resume", folder)
    return {"checkpoint": checkpoint, **study_digests(folder, ("parameters",))}


def ask(form: str) -> Digests:
    """Ask a tiny model multiple-choice questions in one form."""
    questions = lm_inputs.write_questions(workspace() / "questions.jsonl")
    out = workspace() / f"asked-{form}.json"
    args = ("--model", pretrained("llama"), "--questions", questions, "--forms", form)
    run_module("lm.ask", *args, "--out", out)
    return {"metrics": metrics(read_json(out))}


def run_folder(folder: Path, method: str) -> Path:
    """Return the folder of a method's run of seed 0."""
    return folder / "runs" / f"{renamed(method)}-seed0"


def study_digests(folder: Path, methods: Iterable[str], without: str = "") -> Digests:
    """Return the digests of runs of seed 0: weights, metrics, curves and texts.

    Args:
        folder: folder of the study.
        methods: the methods whose runs are read.
        without: an attack whose metrics are left out.
    """
    digests: Digests = {}
    for method in methods:
        run = run_folder(folder, method)
        result = dict(leaves(read_json(run / "result.json")))
        left_out = attack_rows(result, without) if without else {}
        texts = [leaf for leaf in result.values() if isinstance(leaf, str)]
        digests[f"{method} weights"] = weights(run)
        digests[f"{method} metrics"] = metrics(
            {path: leaf for path, leaf in result.items() if path not in left_out}
        )
        digests[f"{method} curves"] = sorted(repr(value) for _, value in read_scalars(run, COSTS))
        digests[f"{method} texts"] = hashed(
            sorted(text for text in texts if len(text) > SAMPLE_LENGTH)
        )
    return digests


def weights(folder: Path) -> list[str]:
    """Return a digest for each file of weights below a folder, of its tensors without names."""
    files = [tensor_digests(read_tensors(path)) for path in folder.rglob("*.safetensors")]
    return sorted(f"{len(tensors)} tensors {hashed(tensors)}" for tensors in files)


def metrics(result: Any) -> list[str]:  # noqa: ANN401
    """Return the numbers of a result that are no counts, settings or costs, as sorted text."""
    every = numbers(result, NO_RESULTS)
    return [number for number in every if not re.fullmatch(r"-?\d+|True|False", number)]


def attack_rows(result: Any, attack: str) -> dict[str, Any]:  # noqa: ANN401
    """Return the leaves of a result that lie in rows about an attack, by their dotted paths."""
    flat = dict(leaves(result))
    named = [path for path, leaf in flat.items() if leaf == attack]
    rows = tuple(f"{path.rpartition('.')[0]}." for path in named)
    return {path: leaf for path, leaf in flat.items() if path.startswith(rows)}


def main() -> None:
    """Print stories, their tokenizer and classified stories as a JSON object."""
    grammar = load("lm.corpus:make_grammar")(load("lm.corpus:make_world")(seed=0))
    texts = load("lm.corpus:tell")(grammar, DRAWN, np.random.default_rng(3)).texts()
    output = {
        "stories": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        "tokenizer": load("lm.corpus:story_tokenizer")(grammar, 400).to_str(),
        "end": load("lm.corpus:END"),
        "classified": {"iid": classify(0.5, "iid"), "topic": classify(0.8, "topic")},
    }
    print(json.dumps(output))


def classify(recall: float, errors: str) -> Digests:
    """Classify stories of imperfect labels; return digests and the count of each outcome."""
    task = load("lm.task:make_task")(load("lm.task:TaskConfig")())
    rows = getattr(task, renamed("lm.task:Task.tell").rpartition(".")[2])(DRAWN, [0])
    quality = load("lm.labels:LabelConfig")(recall=recall, errors=errors)
    labels = load("lm.labels:story_labels")(task, rows, quality, 0)
    found = load("lm.judge:judge")(rows, labels, task.vocab_size, 0)
    outcome: torch.Tensor = getattr(found, "labels", found)
    return {
        "given": array_digest(labels),
        "classified": array_digest(outcome),
        "counts": torch.bincount(outcome, minlength=3).tolist(),
    }


if __name__ == "__main__":
    main()
