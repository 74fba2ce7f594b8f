"""Manual pages become passages of text by language, and commands in them start nothing."""

import gzip
import shutil
from pathlib import Path

import pytest

from lm.data.files import files_at, read_records, skipped_files
from lm.data.manual_pages import PASSAGE, PROGRAMS, find_program, formatted, is_page, passages

AVAILABLE = [name for name in PROGRAMS if shutil.which(name)]
needs_program = pytest.mark.skipif(not AVAILABLE, reason="needs mandoc or groff")


def spelled(text: str) -> str:
    """Return a text with umlauts and other signs in place of how they are written here."""
    signs = {"u:": "\u00fc", "a:": "\u00e4", "*": "\u2022", "<": "\u00ab", ">": "\u00bb"}
    for written, sign in signs.items():
        text = text.replace(written, sign)
    return text


PAGE = spelled(r""".\" a comment
.TH LS 1 "2022-09" "GNU" "Dienstprogramme"
.SH BEZEICHNUNG
ls \- Verzeichnisinhalte auflisten
.SH BESCHREIBUNG
Auflistung von Informationen u:ber die
\fBDATEIen\fP \(bu siehe \(Foweiter\(Fc.
.PP
Die Eintra:ge werden alphabetisch sortiert, falls weder \fB\-cftuvSUX\fP noch \fB\-\-sort\fP
angegeben wurden, und zwar in einer sehr langen Zeile ohne Trennung.
.TP
\fB\-a\fP, \fB\-\-all\fP
Eintra:ge nicht
ignorieren
""")
PARAGRAPHS = [
    spelled(each)
    for each in (
        "BEZEICHNUNG\nls - Verzeichnisinhalte auflisten",
        "BESCHREIBUNG\nAuflistung von Informationen u:ber die DATEIen * siehe <weiter>.",
        "Die Eintra:ge werden alphabetisch sortiert, falls weder -cftuvSUX noch --sort angegeben "
        "wurden, und zwar in einer sehr langen Zeile ohne Trennung.",
        "-a, --all\nEintra:ge nicht ignorieren",
    )
]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as file:
        file.write(text.encode(encoding))
    return path


@pytest.mark.parametrize("program", AVAILABLE)
def test_page_is_formatted_without_headers_and_line_breaks(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.data.manual_pages.PROGRAMS", {program: PROGRAMS[program]})
    assert formatted(write(tmp_path / "man1/ls.1.gz", PAGE)) == PARAGRAPHS


@needs_program
@pytest.mark.parametrize("tagged", [True, False])
def test_page_in_another_encoding_is_decoded(tmp_path: Path, tagged: bool) -> None:
    tag = '.\\" -*- coding: ISO-8859-15 -*-\n' if tagged else ""
    page = write(tmp_path / "man1/ls.1", tag + PAGE, "latin-1")
    assert formatted(page) == PARAGRAPHS


def test_page_in_a_wrong_encoding_is_refused(tmp_path: Path) -> None:
    page = write(tmp_path / "man1/ls.1", '.\\" -*- coding: of-none -*-\n' + PAGE, "latin-1")
    with pytest.raises(ValueError, match=r"ls\.1 is not in the encoding that it names"):
        formatted(page)


@needs_program
@pytest.mark.parametrize("command", [".so {}", "'so {}", ". so {}", ".mso {}", ".soquiet {}"])
def test_page_includes_no_other_file(tmp_path: Path, command: str) -> None:
    secret = write(tmp_path / "secret", "the secret\n")
    page = write(tmp_path / "man1/ls.1", f"{PAGE}\n{command.format(secret)}\n")
    assert formatted(page) == PARAGRAPHS
    alias = write(tmp_path / "man1/dir.1", ".so man1/ls.1\n")
    assert formatted(alias) == []


def test_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="install mandoc or groff, for example by apt-get"):
        find_program()
    with pytest.raises(ValueError, match="manual pages need a program"):
        formatted(write(tmp_path / "man1/ls.1", PAGE))


def test_passages_are_whole_paragraphs_and_repeat_no_long_one() -> None:
    long = [f"{number} " + "word " * 70 for number in range(5)]
    seen: set[str] = set()
    first = list(passages([*long, "short"], seen))
    assert "\n\n".join(first) == "\n\n".join([*long, "short"])
    assert first == ["\n\n".join(long[:2]), "\n\n".join(long[2:4]), f"{long[4]}\n\nshort"]
    assert all(len(each) <= PASSAGE for each in first)
    assert list(passages(["a", "b" * PASSAGE, "c"], set())) == ["a", "b" * PASSAGE, "c"]
    assert list(passages([*long[:2], "short", "new " * 20], seen)) == ["short\n\n" + "new " * 20]
    assert list(passages(long, seen)) == []


@needs_program
def test_pages_of_a_folder_are_read_by_language_and_english_first(tmp_path: Path) -> None:
    english = PAGE.replace("Auflistung", "Listing")
    write(tmp_path / "de/man1/ls.1.gz", PAGE)
    write(tmp_path / "man1/ls.1", english)
    write(tmp_path / "pt_BR.UTF-8/man3/puts.3posix", PAGE.replace("Die Eintr", "Os eintr"))
    write(tmp_path / "de/README.txt", "no page")
    write(tmp_path / "de/ls.1", "no page")
    (tmp_path / "de/man1/dir.1.gz").symlink_to("ls.1.gz")
    assert [path.name for path in files_at(tmp_path)] == [
        "README.txt", "ls.1.gz", "ls.1", "puts.3posix"
    ]  # fmt: skip
    assert skipped_files(tmp_path) == 2
    records = [each.record for each in read_records(tmp_path, "text")]
    found = [(each["language"], each["section"], each["page"]) for each in records[:3]]
    assert found == [("en", "1", "ls.1"), ("de", "1", "ls.1"), ("pt_BR", "3", "puts.3posix")]
    texts = [each["text"] for each in records]
    assert texts[3] == "no page"
    assert [text.count("alphabetisch") for text in texts] == [1, 0, 1, 0]  # of de, left out as seen


def test_a_linked_page_of_another_folder_is_read(tmp_path: Path) -> None:
    page = write(tmp_path / "man1/ls.1", PAGE)
    (tmp_path / "mine/man1").mkdir(parents=True)
    (tmp_path / "mine/man1/ls.1").symlink_to(page)
    assert len(files_at(tmp_path / "mine")) == 1
    assert is_page(page)
    assert not is_page(tmp_path / "man1/ls.txt")
