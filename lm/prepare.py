"""`python -m lm.prepare`: documents of any source as labeled tokens, ready to be unlearned."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from lm.data.labeling import LabelerConfig, Name
from lm.data.preparation import PreparationConfig, prepare
from lm.data.shards import Manifest
from lm.data.sources import find_source
from lm.models.hf_loading import load_tokenizer
from oversight.runs import cli
from oversight.runs.console import print_line
from oversight.runs.parallel import locked

PROGRAM = "python -m lm.prepare"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareConfig:
    """Label documents and store them as tokens; called again after a kill, it goes on.

    Data sets by name: tinystories, wikitext, fineweb-edu, wmdp-bio-forget, wmdp-bio-retain,
    wmdp-cyber-forget, wmdp-cyber-retain.

    Labelers:
    - keywords: documents are to be forgotten that have one of the words;
    - tokens: not whole documents are, but tokens that are one of the words;
    - field: documents are that have one of some values in a field;
    - scores: documents are that have a number above a threshold there;
    - list: documents are as a file of labels says.
    """

    data: str
    """File or folder of .txt, .jsonl or .json, name of a data set, or OWNER/NAME on the hub."""
    tokenizer: str
    """Folder or name of the model that the data are for."""
    out: Path
    """Folder to write to."""
    gguf_file: str | None = None
    """File of the model, where it is in one of that format."""
    documents: int | None = None
    """Documents to read at most; by default all."""
    context: int | None = 256
    """Tokens that documents are cut at, their end included; None keeps them whole."""
    subset: str | None = None
    """Which subset of the data set."""
    split: str | None = None
    """Which split of the data set."""
    text_field: str | None = None
    """Where a record has its text; by default `text`."""
    labeler: Name = "keywords"
    """What tells which documents, or tokens, are to be forgotten."""
    words: tuple[str, ...] = ()
    """Words to find; by default those of the paper, on trees, or as tokens on virology."""
    field: str = "label"
    """Where a record has the value, the number, or the id that a list knows it by."""
    forget_values: tuple[str, ...] = ()
    """Values to forget."""
    retain_values: tuple[str, ...] = ()
    """Values to retain, any other being unlabeled; by default all others are."""
    low: float = 0.1
    """Number below which a document is to be retained; between the two it is unlabeled."""
    high: float = 0.9
    """Number above which a document is to be forgotten."""
    labels: Path | None = None
    """File of labels: one a line for each record, or a .json object by id."""
    shard_tokens: int = 2**22
    """Tokens of a shard; a kill loses at most one."""

    def preparation(self) -> PreparationConfig:
        """Return what the data are made of, all but the tokenizer."""
        labeler = LabelerConfig(
            labeler=self.labeler,
            words=self.words,
            field=self.field,
            forget_values=self.forget_values,
            retain_values=self.retain_values,
            low=self.low,
            high=self.high,
            labels=self.labels,
        )
        return PreparationConfig(
            source=find_source(self.data, self.subset, self.split, self.text_field),
            labeler=labeler,
            documents=self.documents,
            context=self.context,
            shard_tokens=self.shard_tokens,
            gguf_file=self.gguf_file,
        )


def main(args: Sequence[str]) -> None:
    """Prepare data as the arguments say."""
    settings = cli.parse(PrepareConfig, args, PROGRAM)
    config = settings.preparation()
    tokenizer = load_tokenizer(settings.tokenizer, settings.gguf_file)
    console = Console(stderr=True)
    with locked(settings.out), Progress(console=console, disable=not console.is_terminal) as bar:
        for part in settings.out.glob("*.part"):  # what a kill has left half written
            part.unlink()
        task = bar.add_task("documents", total=config.documents)
        manifest = prepare(
            config, tokenizer, settings.out, lambda done: bar.update(task, completed=done)
        )
    for line in summary(manifest, settings.out):
        print_line(Console(), line)


def summary(manifest: Manifest, folder: Path) -> list[str]:
    """Return what there is, in lines: of each label, and in all."""
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
