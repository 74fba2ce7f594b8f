"""Manual pages as documents: text of many languages that every package manager of Linux offers.

A page is a file such as `de/man1/ls.1.gz`, as Debian's packages manpages-de, manpages-fr and others
have them. A program that the system has formats it, mandoc or groff, as plain text without page
headers, hyphenation or line breaks inside of paragraphs. A page becomes passages of whole
paragraphs. A long paragraph that an earlier passage has, such as a licence or the names of
translators, is left out.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lm.data.document import Located
from lm.data.lines import compression_of, opened
from lm.models.hf_loading import first_line

PROGRAMS = {
    "mandoc": ("-K", "utf-8", "-T", "utf8", "-O", "width=1000"),
    "groff": ("-K", "utf8", "-T", "utf8", "-man", "-t", "-rLL=1000n", "-rHY=0", "-P-cbou"),
}
"""Programs that format pages, the fastest first, with their arguments."""
SECONDS = 60
"""Seconds after which a page is given up."""
PASSAGE = 800
"""Most characters of a passage of several paragraphs, about 256 tokens of a small vocabulary."""
BOILERPLATE = 60
"""Characters from which on a paragraph counts as a repetition of an earlier one."""

_SUFFIX = re.compile(r"\.[1-9nl]\w*")
_SECTION = re.compile(r"man[1-9nl]\w*")
_LANGUAGE = re.compile(r"([a-z]{2}(_[A-Z]{2})?)([.@].*)?")
_ENCODING = re.compile(rb"-\*-.*coding:\s*([\w-]+)")
_INCLUSION = re.compile(r"^[.'][ \t]*(so|mso|soquiet|pso|sy|open|opena|pi)\b.*$", re.MULTILINE)
_OVERSTRIKE = re.compile(".\b")
_DASHES = str.maketrans("\u2010\u2011\u2212\u00a0", "--- ")


def is_page(path: Path) -> bool:
    """Return whether a file is a manual page, by its name and that of its folder.

    >>> is_page(Path("man/de/man1/ls.1.gz")), is_page(Path("man/de/ls.1.gz"))
    (True, False)
    """
    name = Path(path.stem) if compression_of(path) else path
    return bool(_SUFFIX.fullmatch(name.suffix) and _SECTION.fullmatch(path.parent.name))


def language_of(path: Path) -> str:
    """Return the language of a page, which the folder of its section names, or else English.

    >>> language_of(Path("man/pt_BR.UTF-8/man1/ls.1")), language_of(Path("man/man1/ls.1"))
    ('pt_BR', 'en')
    """
    found = _LANGUAGE.fullmatch(path.parent.parent.name)
    return found[1] if found else "en"


def find_program() -> str:
    """Return the name of a program that formats pages.

    Raises:
        ValueError: if there is none.
    """
    for name in PROGRAMS:
        if shutil.which(name):
            return name
    raise ValueError(
        f"manual pages need a program that formats them: install {' or '.join(PROGRAMS)}, for "
        "example by apt-get install mandoc"
    )


def page_records(path: Path, field: str, seen: set[str]) -> Iterator[Located]:
    """Yield the passages of a page as records with its language, its section and its name.

    Args:
        path: the file of the page.
        field: the field that holds the text of a record.
        seen: the long paragraphs of earlier pages; those of this one are added.

    Raises:
        ValueError: if the file cannot be read, or the program that formats it is missing or fails.
    """
    about = {
        "language": language_of(path),
        "section": path.parent.name.removeprefix("man"),
        "page": path.name.removesuffix(path.suffix) if compression_of(path) else path.name,
    }
    for number, text in enumerate(passages(formatted(path), seen)):
        where = f"{path}, passage {number}"
        yield Located(where, {field: text, **about}, "manual pages", str(path))


def formatted(path: Path) -> list[str]:
    """Return the paragraphs of a page as its readers see them.

    Commands in the page that would include another file or start a program are left out. So a page
    that only refers to another has no paragraphs.

    Raises:
        ValueError: if the file cannot be read, or the program that formats it is missing or fails.
    """
    source = _INCLUSION.sub("", _source(path))
    program = find_program()
    try:
        result = subprocess.run(
            [program, *PROGRAMS[program]],
            input=source.encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(
            f"{path} cannot be formatted by {program} ({first_line(error)}): remove it"
        ) from error
    text = _OVERSTRIKE.sub("", result.stdout.decode(errors="replace")).translate(_DASHES)
    lines = [" ".join(line.split()) for line in text.strip().splitlines()]
    body = "\n".join(lines[1:-1])  # without the header and the footer
    return [each.strip("\n") for each in re.split(r"\n{2,}", body) if each.strip("\n")]


def _source(path: Path) -> str:
    """Return the source of a page, in the encoding that it names if it is not UTF-8."""
    with opened(path) as file:
        data = file.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        named = _ENCODING.search(data[:1000])
        try:
            return data.decode(named[1].decode() if named else "latin-1")
        except (LookupError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} is not in the encoding that it names ({error}): convert it to UTF-8"
            ) from error


def passages(paragraphs: list[str], seen: set[str]) -> Iterator[str]:
    """Yield paragraphs in groups of at most `PASSAGE` characters, without those seen before.

    A longer paragraph is a group by itself.
    """
    group: list[str] = []
    for paragraph in paragraphs:
        if len(paragraph) >= BOILERPLATE:
            if paragraph in seen:
                continue
            seen.add(paragraph)
        if group and sum(map(len, group)) + len(paragraph) > PASSAGE:
            yield "\n\n".join(group)
            group = []
        group.append(paragraph)
    if group:
        yield "\n\n".join(group)
