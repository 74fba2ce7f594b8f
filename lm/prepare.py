"""`python -m lm.prepare`: documents of any source as labeled tokens, for `python -m lm.unlearn`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import Progress

from lm.data.labeling import LabelerConfig
from lm.data.preparation import PreparationConfig, prepare
from lm.data.shards import Manifest
from lm.data.sources import find_source
from lm.models.hf_loading import load_tokenizer
from oversight.runs import cli
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
    - field: forget documents with one of some values in a field;
    - scores: forget documents with a number above a threshold in a field;
    - list: label documents by a file of labels.
    """

    data: str
    """File or folder of .txt, .jsonl or .json files, short name of a data set, or OWNER/NAME on the
    hub."""
    tokenizer: str
    """Folder or name of the model that the data are for."""
    out: Path
    """Folder to write to."""
    gguf_file: str | None = None
    """Name of the GGUF file of the model, if it is in that format."""
    documents: int | None = None
    """Maximum number of documents to read; by default all."""
    context: int | None = 256
    """Maximum number of tokens of a document, its end included; None for no limit."""
    subset: str | None = None
    """Subset of the data set."""
    split: str | None = None
    """Split of the data set."""
    text_field: str | None = None
    """Field of a record that holds the text; by default `text`."""
    labeling: Annotated[LabelerConfig, tyro.conf.arg(name="")] = field(
        default_factory=LabelerConfig
    )
    shard_tokens: int = 2**22
    """Tokens of a shard; an interruption loses at most one shard."""

    def preparation(self) -> PreparationConfig:
        """Return the settings that the data depend on, besides the tokenizer."""
        return PreparationConfig(
            source=find_source(self.data, self.subset, self.split, self.text_field),
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
    tokenizer = load_tokenizer(settings.tokenizer, settings.gguf_file)
    console = Console(stderr=True)
    with locked(settings.out), Progress(console=console, disable=not console.is_terminal) as bar:
        for part in settings.out.glob("*.part"):  # left by an interrupted write
            part.unlink()
        task = bar.add_task("documents", total=config.documents)
        manifest = prepare(
            config, tokenizer, settings.out, lambda done: bar.update(task, completed=done)
        )
    for line in summary(manifest, settings.out):
        Console().out(line, highlight=False)


def summary(manifest: Manifest, folder: Path) -> list[str]:
    """Return the counts by label and in total, as lines of text."""
    documents, tokens = manifest.documents, manifest.tokens
    size = sum(file.stat().st_size for file in folder.glob("*.bin"))
    shards = "1 shard" if len(manifest.shards) == 1 else f"{len(manifest.shards)} shards"
    return [
        *(f"{n:<10}  {documents[n]:>12,} documents  {tokens[n]:>15,} tokens" for n in documents),
        f"{folder}: {sum(documents.values()):,} documents, {sum(tokens.values()):,} tokens, "
        f"{size / 1e6:,.1f} MB in {shards}",
    ]


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
