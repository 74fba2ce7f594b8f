"""`python -m lm.prepare`: documents of any source as labeled tokens, for `python -m lm.unlearn`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import Progress

from lm.data.files import SEPARATORS, TextSplit
from lm.data.findings import require_something_to_forget, sentences
from lm.data.labeling import LabelerConfig
from lm.data.preparation import (
    PreparationConfig,
    prepare,
    require_outside,
    train_new_tokenizer,
)
from lm.data.shards import MANIFEST_FILE, Manifest, Shards, read_manifest
from lm.data.sources import Files, Hub, find_source
from lm.models.hf_loading import load_tokenizer
from oversight.runs import cli
from oversight.runs.folder import require_writable
from oversight.runs.parallel import locked

PROGRAM = "python -m lm.prepare"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareConfig:
    """Label documents, and store them as shards of tokens.

    If the command is interrupted, the same command resumes and produces byte-identical shards.

    Data sets by short name: tinystories, wikitext, fineweb-edu, wmdp-bio-forget, wmdp-bio-retain,
    wmdp-cyber-forget, wmdp-cyber-retain.

    Labelers:
    - keywords: forget documents that contain one of the words;
    - tokens: forget single tokens that are one of the words, and not whole documents;
    - words: forget the tokens of the words in a field, wherever the text has them;
    - field: forget documents with one of some values in a field;
    - scores: forget documents with a number above a threshold in a field;
    - list: label documents by a file of labels.
    """

    data: str
    """File or folder, short name of a data set, or OWNER/NAME on the hub. Files: .txt, .jsonl,
    .ndjson, .json, .csv with a header and .parquet, also compressed as .gz or .zst, in lower or
    upper case; manual pages such as de/man1/ls.1.gz, with the fields language, section and page.
    In a folder, hidden files and files of other kinds are skipped."""
    tokenizer: str
    """Folder or name of the model that the data are for, or of its tokenizer."""
    out: Path
    """Folder to write to."""
    gguf_file: str | None = None
    """Name of the GGUF file of the model, if it is in that format."""
    vocab_size: int | None = None
    """Number of tokens of a new tokenizer, for new models. It is trained on the documents and saved
    in the folder --tokenizer; by default there must be one."""
    documents: int | None = None
    """Maximum number of documents to read; by default all."""
    context: int | None = 256
    """Maximum number of tokens of a document, its end included; None for no limit."""
    subset: str | None = None
    """Subset of the data set."""
    split: str | None = None
    """Split of the data set."""
    text_field: str | None = None
    """Field of a record that holds the text; by default `text`, or `messages` in records without
    it. Dots lead to nested fields, as in meta.text. The tokenizer's chat template renders lists of
    messages, each with a role and a content. Records without text in the field are skipped."""
    text_split: TextSplit = "auto"
    """What ends a document of a .txt file. auto: separators where a file has one; otherwise blank
    lines, or the end of the file where a folder has several .txt files."""
    separators: tuple[str, ...] = SEPARATORS
    """Tokens that end a document of a .txt file, and are no part of it."""
    labeling: Annotated[LabelerConfig, tyro.conf.arg(name="")] = field(
        default_factory=LabelerConfig
    )
    shard_tokens: int = 2**22
    """Number of tokens of a shard; an interruption loses at most one shard."""

    def preparation(self) -> PreparationConfig:
        """Return the settings that the data depend on, besides the tokenizer."""
        return PreparationConfig(
            source=find_source(
                self.data,
                self.subset,
                self.split,
                self.text_field,
                self.text_split,
                self.separators,
            ),
            labeler=self.labeling,
            documents=self.documents,
            context=self.context,
            shard_tokens=self.shard_tokens,
            gguf_file=self.gguf_file,
        )


def main(args: Sequence[str]) -> None:
    """Prepare the data that the arguments describe."""
    settings = cli.parse(PrepareConfig, args, PROGRAM)
    config = settings.preparation()
    if isinstance(config.source, Files):
        require_outside(settings.out, config.source.path, "the folder to write to,")
        if settings.vocab_size is not None:
            require_outside(
                Path(settings.tokenizer), config.source.path, "the folder of the tokenizer,"
            )
    if settings.vocab_size is not None:
        train_new_tokenizer(config.source, settings.vocab_size, Path(settings.tokenizer))
    tokenizer = load_tokenizer(settings.tokenizer, settings.gguf_file)
    console = Console(stderr=True)
    resumable = isinstance(config.source, Hub)  # a network may fail, and files are refused again
    with (
        removed_if_refused(settings.out, resumable),
        Progress(console=console, disable=not console.is_terminal) as bar,
    ):
        for part in settings.out.glob("*.part"):  # left by an interrupted write
            part.unlink()
        task = bar.add_task("documents", total=config.documents)
        manifest = prepare(
            config, tokenizer, settings.out, lambda done: bar.update(task, completed=done)
        )
        require_something_to_forget(Shards(settings.out, manifest))
    for line in summary(manifest, settings.out):
        Console().out(line, highlight=False)


@contextmanager
def removed_if_refused(folder: Path, resumable: bool) -> Iterator[None]:
    """Lock a folder, and remove what was written to it if an error ends the preparation.

    Files that were there before stay, and so does all of an earlier preparation. Complete shards
    of an interrupted one stay as well.

    Args:
        folder: the folder to write to.
        resumable: whether complete shards stay after an error, for another call to resume.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    lock = folder / ".lock"
    ours, refused = not lock.exists(), False
    require_writable(folder, "--out")
    try:
        with locked(folder):
            before = set(folder.iterdir())
            try:
                yield
            except BaseException as error:
                manifest = folder / MANIFEST_FILE
                interrupted = not isinstance(error, Exception)
                unfinished = manifest.exists() and not read_manifest(folder).complete
                kept = manifest.exists() if interrupted else resumable and unfinished
                refused = manifest not in before and not kept
                for path in set(folder.iterdir()) - before if refused else ():
                    path.unlink()
                raise
    finally:
        if refused:
            with suppress(OSError):  # another process has begun to use the folder
                if ours:
                    lock.unlink()
                for each in missing:
                    each.rmdir()


def summary(manifest: Manifest, folder: Path) -> list[str]:
    """Return the counts by label and in total and what was found, as lines of text."""
    documents, tokens = manifest.documents, manifest.tokens
    size = sum(file.stat().st_size for file in folder.glob("*.bin"))
    shards = "1 shard" if len(manifest.shards) == 1 else f"{len(manifest.shards)} shards"
    return [
        *(f"{n:<10}  {documents[n]:>12,} documents  {tokens[n]:>15,} tokens" for n in documents),
        f"{folder}: {sum(documents.values()):,} documents, {sum(tokens.values()):,} tokens, "
        f"{size / 1e6:,.1f} MB in {shards}",
        "each row begins with {!r}, and each document ends with {!r}".format(
            *manifest.vocabulary.around
        ),
        *sentences(manifest),
    ]


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
