"""A study of a user's own texts: their shards in its folder, and sizes that fit their number."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lm.config import RunConfig
from lm.data.findings import require_something_to_forget, sentences
from lm.data.pools import SHARES, Pools, pools_of
from lm.data.preparation import prepare
from lm.data.records import ChatTemplate
from lm.data.shards import Manifest, Shards, read_manifest
from lm.data.sources import LIST, DocumentStream, documents
from lm.models.hf_loading import load_tokenizer
from lm.relearning import relearning_of
from lm.task import SPLIT_LABELS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MIN_TEXTS = 8
"""Number of texts to forget, and of texts to retain, that a study needs."""
DATA = "data"
"""The folder of the shards, within that of the study."""


@contextmanager
def prepared_texts(run: RunConfig) -> Iterator[RunConfig]:
    """Yield settings with the shards of the texts of a run, in a folder that is then removed.

    The numbers of texts that are trained on, asked and attacked with are lowered to what there is.

    Raises:
        ValueError: if texts are too few, those to forget are those to retain, or a file cannot be
            read.
    """
    with TemporaryDirectory() as made:
        tokenizer = tokenizer_of(run)
        require_distinct_texts(run, tokenizer)
        folder = Path(made) / DATA
        manifest = prepare_in(folder, run, tokenizer)
        shards = Shards(folder, manifest)
        require_something_to_forget(shards)
        yield replace(fit_sizes(run, pools_of(shards)), data=folder)


def tokenizer_of(run: RunConfig) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of the model of a run."""
    assert run.model is not None  # the settings refuse texts without one
    return load_tokenizer(run.model, run.gguf_file)


def prepare_in(folder: Path, run: RunConfig, tokenizer: "PreTrainedTokenizerBase") -> Manifest:
    """Prepare the texts of a run in a folder, or check that it holds those same texts, unchanged.

    Raises:
        ValueError: if the folder holds other texts, or a file of the texts has changed.
    """
    return prepare(replace(run.texts.preparation, gguf_file=run.gguf_file), tokenizer, folder)


def copy_shards(run: RunConfig, folder: Path) -> RunConfig:
    """Copy the shards of a run into the folder of its study, and return settings that name them."""
    assert run.data is not None
    shutil.copytree(run.data, folder / DATA, dirs_exist_ok=True)
    return replace(run, data=folder / DATA)


def restore_sizes(run: RunConfig, folder: Path) -> RunConfig:
    """Return settings with the sizes that `prepared_texts` gave them, and the shards of a study.

    Raises:
        ValueError: as `prepare_in`.
    """
    manifest = prepare_in(folder / DATA, run, tokenizer_of(run))
    shards = Shards(folder / DATA, manifest)
    return replace(fit_sizes(run, pools_of(shards)), data=folder / DATA)


def require_distinct_texts(run: RunConfig, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Raise a ValueError if texts are too few, or `require_distinct` refuses them."""
    found: dict[str, list[str]] = {"forget": [], "retain": []}
    source = run.texts.preparation.source
    for document in DocumentStream(documents(source, 0, ChatTemplate(tokenizer))):
        found[document.fields[LIST]].append(document.text)
    require_distinct(found)
    forget, retain = map(len, found.values())
    if min(forget, retain) < MIN_TEXTS:
        raise ValueError(
            f"{forget:,} texts to forget and {retain:,} to retain were given: give {MIN_TEXTS} or "
            "more of each, as some are for exams and attacks"
        )


def require_distinct(texts: Mapping[str, Sequence[str]]) -> None:
    """Raise a ValueError if a list of texts is empty, or all of it is in the other list as well.

    >>> require_distinct({"forget": ["a", "b"], "retain": ["b", "c"]})
    """
    sets = {name: {text.strip() for text in each} for name, each in texts.items()}
    for name, own in sets.items():
        if not own:
            raise ValueError(f"there is no text to {name}: give one or more")
    for name, other in (("forget", "retain"), ("retain", "forget")):
        if sets[name] <= sets[other]:
            raise ValueError(
                f"every text to {name} ({len(sets[name]):,}) is also one to {other}: give some "
                "that are not"
            )


def fit_sizes(run: RunConfig, pools: Pools) -> RunConfig:
    """Return settings whose numbers of texts are at most those of the pools.

    Exams and attacks draw the same number of texts to forget and to retain, and attacks as many to
    relearn from. A tenth of the texts to train on, if that is fewer, is held out for the repair.
    """
    room = {
        pool: min(len(pools.members(pool, label)) for label in SPLIT_LABELS.values())
        for pool in SHARES
    }
    relearning = relearning_of(run.texts)
    if relearning is not None:
        room["attack"] = min(room["attack"], len(relearning.texts))
    train = len(pools.members("train"))
    held_out = min(run.repair.stories, max(2, train // 10))
    stories = min(run.task.stories, train - held_out)
    examples = {min(count, room["attack"]) for count in run.attack.num_examples}
    return replace(
        run,
        batch_size=min(run.batch_size, stories),
        task=replace(run.task, stories=stories),
        repair=replace(run.repair, stories=held_out),
        exam=replace(run.exam, stories=min(run.exam.stories, room["exam"])),
        attack=replace(run.attack, num_examples=tuple(sorted(examples))),
    )


def summary_lines(run: RunConfig) -> list[str]:
    """Return what the texts of a study are used for, and what was found in them, as lines."""
    assert run.data is not None
    sizes = (
        f"texts: {run.task.stories:,} to train on, {run.repair.stories:,} held out for the repair, "
        f"{run.exam.stories:,} of each kind in exams, up to "
        f"{max(run.attack.num_examples):,} in attacks"
    )
    return [sizes, *sentences(read_manifest(run.data))]
