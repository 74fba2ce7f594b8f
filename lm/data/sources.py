"""Where documents come from: data sets of the hub, by short names too, and local files."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lm.data.document import Document
from lm.data.files import READERS, file_documents, files_at
from lm.data.hub import Hub, hub_documents

WMDP = "cais/wmdp-corpora"

SOURCES = {
    "fineweb-edu": Hub(dataset="HuggingFaceFW/fineweb-edu", subset="sample-10BT"),
    "tinystories": Hub(dataset="roneneldan/TinyStories"),
    "wikitext": Hub(dataset="Salesforce/wikitext", subset="wikitext-103-raw-v1"),
    "wmdp-bio-forget": Hub(dataset="cais/wmdp-bio-forget-corpus", gated=True),
    "wmdp-bio-retain": Hub(dataset=WMDP, subset="bio-retain-corpus"),
    "wmdp-cyber-forget": Hub(dataset=WMDP, subset="cyber-forget-corpus"),
    "wmdp-cyber-retain": Hub(dataset=WMDP, subset="cyber-retain-corpus"),
}
"""Data sets of the hub by short names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """A file, or a folder of files."""

    path: Path
    field: str = "text"
    """where a record has its text"""


def find_source(
    data: str, subset: str | None = None, split: str | None = None, field: str | None = None
) -> Hub | Files:
    """Return the source of a name of `SOURCES`, a name on the hub, or a path.

    Args:
        data: the name or path; what lies on the disk is preferred.
        subset: of the data set, where it has several.
        split: of the data set.
        field: where a record has its text.

    Raises:
        ValueError: if there is no such file, the name can be none, or files are to have subsets.

    >>> find_source("tinystories", split="validation").split
    'validation'
    """
    path = Path(data)
    own = {"subset": subset, "split": split, "field": field}
    given: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
    if path.exists() or path.suffix in READERS or data.startswith((".", "/")):
        files_at(path)
        if {"subset", "split"} & set(given):
            raise ValueError(f"{data} is a path, and files have no subset or split: leave both out")
        return Files(path=path, **given)
    if data in SOURCES:
        return replace(SOURCES[data], **given)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", data):
        return Hub(dataset=data, **given)
    raise ValueError(
        f"{data!r} is no file or folder, nor a data set: choose from {', '.join(SOURCES)}, or give "
        "OWNER/NAME of one on the hub"
    )


def documents(source: Hub | Files, first: int = 0) -> Iterator[Document]:
    """Yield the documents of a source, from a record on.

    Raises:
        ValueError: if it cannot be read.
    """
    if isinstance(source, Files):
        return file_documents(source.path, source.field, first)
    return hub_documents(source, first)


def described(source: Hub | Files) -> dict[str, Any]:
    """Return a source as plain data; of files, their sizes too, by which a change is noticed."""
    data = asdict(source)
    if isinstance(source, Files):
        data["files"] = {str(file): file.stat().st_size for file in files_at(source.path)}
    return data
