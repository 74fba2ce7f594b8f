"""Documents of a data set of the Hugging Face hub, read as they are needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lm.data.document import Document, Located, documents_of

if TYPE_CHECKING:
    from datasets import IterableDataset


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """A data set of the hub."""

    dataset: str
    subset: str | None = None
    """which of its configurations, where it has several"""
    split: str = "train"
    field: str = "text"
    """where a record has its text"""
    gated: bool = False
    """whether it is open only to users who asked for it"""


def hub_documents(source: Hub, first: int = 0) -> Iterator[Document]:
    """Yield the documents of a data set, from a record on.

    Raises:
        ValueError: if there is no such data set, it needs a login, the hub is out of reach, or
            the package `datasets` is not installed.
    """
    return documents_of(_records(source, first), source.field, first)


def _records(source: Hub, first: int) -> Iterator[Located]:
    stream = _opened(source).skip(first)
    number = first
    try:
        for record in stream:
            yield f"{source.dataset}, record {number}", record
            number += 1
    except Exception as error:  # there is no end to what a network and its files can do
        raise ValueError(
            f"{source.dataset} cannot be read beyond record {number} ({_first_line(error)}): check "
            "the network, and call again to go on"
        ) from error


def _opened(source: Hub) -> "IterableDataset":
    try:
        from datasets import load_dataset  # noqa: PLC0415 (it needs the extra)
    except ImportError as error:
        raise ValueError(
            f"reading {source.dataset} needs the package `datasets`: pip install -e '.[hf]'"
        ) from error
    try:
        return load_dataset(source.dataset, source.subset, split=source.split, streaming=True)
    except Exception as error:
        raise ValueError(_refusal(source, error)) from error


def _refusal(source: Hub, error: Exception) -> str:
    """Return what to do where a data set cannot be opened."""
    name, said = source.dataset, _first_line(error)
    if _is_gated(error) or "gated" in said:
        return (
            f"{name} is open only to users who asked for it: request access on "
            f"https://huggingface.co/datasets/{name}, then log in by `hf auth login`"
        )
    if isinstance(error, ConnectionError):
        return f"{name} cannot be read, as the hub is out of reach ({said}): check the network"
    hint = "request access on its page, and log in" if source.gated else "if private, log in"
    return (
        f"{name} cannot be read ({said}): check the name, --subset and --split; {hint} by "
        "`hf auth login`"
    )


def _is_gated(error: BaseException) -> bool:
    """Return whether an error comes from the hub's refusal of those who did not accept terms."""
    from huggingface_hub.errors import GatedRepoError  # noqa: PLC0415

    link: BaseException | None = error
    while link is not None and not isinstance(link, GatedRepoError):
        link = link.__cause__ or link.__context__
    return link is not None


def _first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
