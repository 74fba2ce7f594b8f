"""Cases of the language models: every method, on stories, on documents and on pretrained models.

- Nearly all run the commands, and hash what these write.
- A study that several cases read is run once, by a function with a cache.
- What scikit-learn and lm-evaluation-harness may change has cases of its own, whose names begin
  with `lm/classifier/`, `lm/probe/` and `lm/ask/`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tests.equality import lm_inputs
from tests.equality.hashing import Case, Digests, read_json, read_tensors, tensor_digests
from tests.equality.lm_digests import (
    digests,
    in_rows_of,
    metrics,
    printed_numbers,
    run_folder,
    text_digest,
    weights,
)
from tests.equality.names import flags
from tests.equality.processes import ONE_THREAD, driver, module

METHODS = (
    *("gold", "filtered", "filtered-tokens", "unrouted", "unrouted-ablated", "random-region"),
    *("rmu", "graddiff", "npo", "simnpo", "era", "parameters", "parameters-tokens", "modules"),
)
CLASSIFIED = ("filtered-judged", "parameters-judged", "modules-judged", "modules-rmu")
PRETRAINED = ("unrouted", "era", "parameters", "modules", "rmu", "lora-pair")
PRETRAINED_CLASSIFIED = ("lora-pair-judged",)
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
PATIENCE = 120.0
"""Seconds to wait for a checkpoint."""


def cases() -> list[Case]:
    """Return all cases of the language models."""
    found: dict[str, Callable[[], Digests]] = {
        "stories": partial(stories, METHODS),
        "classifier/stories": partial(stories, CLASSIFIED),
        "documents": partial(documents, METHODS),
        "classifier/documents": partial(documents, CLASSIFIED),
        "documents-by-token": token_documents,
        "pretrained/gpt_neo": partial(pretrained_documents, "gpt_neo"),
        "pretrained/qwen2": partial(pretrained_documents, "qwen2"),
        "pretrained/llama": partial(pretrained_stories, PRETRAINED),
        "classifier/pretrained": partial(pretrained_stories, PRETRAINED_CLASSIFIED),
        "attacks/full": full_attacks,
        "probe/full": probes,
        "sweep": sweep,
        "resumed": resumed,
        "scale/accumulate": accumulated,
        "scale/ddp": partial(parallel, "ddp"),
        "scale/fsdp": partial(parallel, "fsdp"),
        "corpus": corpus,
        "classifier/labels": lambda: dict(driven()["classified"]),
        **{f"prepare/{labeler}": partial(shards, labeler) for labeler in LABELERS},
        **{f"ask/{form}": partial(asked, form) for form in FORMS},
    }
    return [Case(f"lm/{name}", partial(_run, run)) for name, run in found.items()]


def _run(run: Callable[[], Digests], _: Path) -> Digests:
    """Run a case, which shares one folder with all others, and needs none of its own."""
    return run()


@cache
def workspace() -> Path:
    """Return a folder that lasts as long as this process."""
    folder = tempfile.TemporaryDirectory(prefix="equality-")
    _OPEN.append(folder)
    return Path(folder.name)


_OPEN: list[tempfile.TemporaryDirectory[str]] = []


@cache
def driven() -> dict[str, Any]:
    """Return what the driver prints: stories, their tokenizer, and classified stories."""
    read: dict[str, Any] = json.loads(driver("lm_driver"))
    return read


def corpus() -> Digests:
    """Hash stories and their tokenizer."""
    return {name: text_digest([driven()[name]]) for name in ("stories", "tokenizer")}


@cache
def document_file() -> Path:
    """Return the documents that are prepared."""
    return lm_inputs.write_documents(workspace() / "documents.jsonl")


@cache
def pretrained(family: str, of_stories: bool = False) -> Path:
    """Return the folder of a tiny model, with the tokenizer of stories or of documents."""
    if of_stories:
        tokenizer, end = Tokenizer.from_str(driven()["tokenizer"]), driven()["end"]
    else:
        tokenizer, end = lm_inputs.document_tokenizer(document_file()), lm_inputs.END
    return lm_inputs.save_model(family, tokenizer, end, workspace() / f"{family}-{of_stories}")


@cache
def prepared(labeler: str) -> Path:
    """Return the folder of documents labeled in one of the ways there are."""
    folder, more = workspace() / f"prepared-{labeler}", LABELERS[labeler]
    if labeler == "list":
        more = ("--labels", lm_inputs.write_labels(workspace() / "labels.txt"))
    given = ("--data", document_file(), "--tokenizer", pretrained("llama"), "--out", folder)
    sizes = ("--context", 40, "--shard-tokens", 4000)
    module("lm.prepare", *given, *sizes, "--labeler", labeler, *more)
    return folder


def shards(labeler: str) -> Digests:
    """Prepare documents, and hash each file of the shards."""
    files = prepared(labeler).glob("*.bin")
    return {"shards": sorted(text_digest([path.read_bytes().hex()]) for path in files)}


@cache
def study(name: str, methods: Sequence[str], *args: object) -> tuple[Path, str]:
    """Run a study of seconds, and return its folder and what the command printed."""
    folder = workspace() / name
    printed = module("lm.unlearn", *SMOKE, "--run-dir", folder, "--method", *methods, *args)
    return folder, printed


def stories(methods: Sequence[str]) -> Digests:
    """Train new models on stories by every method that takes one."""
    folder, _ = study("stories", (*METHODS, *CLASSIFIED))
    return digests(folder, methods)


def documents(methods: Sequence[str]) -> Digests:
    """The same on documents, of which a third is unlabeled."""
    args = (*ON_DOCUMENTS, "--data", prepared("scores"))
    folder, _ = study("documents", (*METHODS, *CLASSIFIED), *args)
    return digests(folder, methods)


def token_documents() -> Digests:
    """The same on documents whose tokens have a label each."""
    methods = ("filtered-tokens", "parameters-tokens", "modules")
    folder, _ = study("tokens", methods, *ON_DOCUMENTS, "--data", prepared("tokens"))
    return digests(folder, methods)


def pretrained_documents(family: str) -> Digests:
    """Go on from a tiny model of a family, on documents."""
    args = (*ON_DOCUMENTS, *TINY_MODEL, "--data", prepared("field"), "--model", pretrained(family))
    folder, _ = study(family, PRETRAINED, *args)
    return digests(folder, PRETRAINED)


def pretrained_stories(methods: Sequence[str]) -> Digests:
    """Go on from a tiny Llama, on stories."""
    args = (*TINY_MODEL, "--model", pretrained("llama", of_stories=True))
    folder, _ = study("llama", (*PRETRAINED, *PRETRAINED_CLASSIFIED), *args)
    return digests(folder, methods)


def full_attacks() -> Digests:
    """Run every attack; leave out what the probes find."""
    folder, _ = study("full", ATTACKED, "--attack", "full")
    found: Digests = {}
    for method in ATTACKED:
        result = read_json(run_folder(folder, method) / "result.json")
        found |= digests(folder, [method], in_rows_of(result, "probe"))
    return found


def probes() -> Digests:
    """Return what the probes find in the same runs."""
    folder, _ = study("full", ATTACKED, "--attack", "full")
    return {method: _probed(run_folder(folder, method)) for method in ATTACKED}


def _probed(run: Path) -> list[str]:
    result = read_json(run / "result.json")
    of_probe = in_rows_of(result, "probe")
    return metrics(result, lambda path: not of_probe(path))


def sweep() -> Digests:
    """Sweep over labels that are missed by topic, two seeds, with the summary and its verdict."""
    labels = ("--label-precision", 0.8, "--label-errors", "topic", "--recalls", 0.5, 1.0)
    folder, printed = study("sweep", ("era",), "--sweep", "labels", *labels, "--seeds", 0, 1)
    runs = [read_json(path) for path in (folder / "runs").glob("*/result.json")]
    return {
        "weights": weights(folder),
        "metrics": sorted(number for run in runs for number in metrics(run)),
        "summary": metrics(read_json(folder / "summary.json")),
        "printed": printed_numbers(printed, folder),
    }


def accumulated() -> Digests:
    """Train with batches in pieces, and with activations that are computed again."""
    args = ("--loop.scale.accumulate", 2, "--loop.scale.checkpoint-activations")
    folder, _ = study("accumulated", ("era",), *args)
    return digests(folder, ("era",))


def parallel(kind: str) -> Digests:
    """Train by two processes together."""
    folder = workspace() / kind
    given = (*SMOKE, "--run-dir", folder, "--method", "modules", "--loop.scale.parallel", kind)
    start = ("--standalone", "--nproc-per-node", 2, "-m", "lm.unlearn")
    # Gloo may abort a process at its exit, when all results are written.
    module("torch.distributed.run", *start, *given, codes=(0, 1))
    return digests(folder, ("modules",))


def resumed() -> Digests:
    """Kill a study at its checkpoint, hash the optimizer's state in it, and go on to the end."""
    folder = workspace() / "resumed"
    loop = ("--loop.steps", 90, "--loop.warmup", 5, "--loop.checkpoint-every", 70)
    given = (*SMOKE, *loop, "--batch-size", 2, "--expansion", 4, "--run-dir", folder)
    process = subprocess.Popen(
        [sys.executable, "-m", *flags("lm.unlearn", *given, "--method", "parameters")],
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE
    while not (found := list(folder.rglob("*.pt"))):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the study left no checkpoint to go on from")
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    checkpoint = tensor_digests(read_tensors(found[0]))
    if list(folder.rglob("*.safetensors")):
        raise RuntimeError("the study finished training before it was killed")
    module("lm.unlearn", "--workers", 1, "--resume", folder)
    return {"checkpoint": checkpoint, **digests(folder, ("parameters",))}


def asked(form: str) -> Digests:
    """Ask a tiny model multiple-choice questions in one form."""
    questions = lm_inputs.write_questions(workspace() / "questions.jsonl")
    out = workspace() / f"asked-{form}.json"
    given = ("--model", pretrained("llama"), "--questions", questions, "--forms", form)
    module("lm.ask", *given, "--out", out)
    return {"metrics": metrics(read_json(out))}
