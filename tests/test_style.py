"""The house rules of style that no linter checks."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIBRARY = ("agents", "configs", "envs", "lm", "oversight")
LONGEST_FILE = 520
LONGEST_FUNCTION = 60
VAGUE = {"base", "common", "helper", "helpers", "misc", "util", "utils"}

NOT_MIRRORED = {
    "agents/test_like_sb3.py": "that RoutedPPO equals the PPO of SB3",
    "envs/wrappers/test_every_wrapper.py": "what holds of all wrappers alike",
    "lm/test_help.py": "the help pages of all commands",
    "oversight/test_help.py": "the help pages of all commands",
}
"""From a test file that is named after no file of the library to what it tests."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Source:
    """A file of this repository, its text and its syntax tree."""

    path: Path
    text: str
    tree: ast.Module


@cache
def sources(*packages: str) -> list[Source]:
    """Return all files below some of the top folders."""
    paths = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return [
        Source(path.relative_to(ROOT), text, ast.parse(text))
        for path, text in zip(paths, texts, strict=True)
    ]


def all_sources() -> list[Source]:
    return sources(*LIBRARY, "tests")


def public(body: list[ast.stmt]) -> Iterator[Definition]:
    """Yield what users may call: public definitions and, in public classes, public methods."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_the_files_are_found() -> None:
    assert len(sources(*LIBRARY)) > 40
    assert Path("tests/test_style.py") in {source.path for source in all_sources()}


def test_files_are_ascii() -> None:
    assert [source.path for source in all_sources() if not source.text.isascii()] == []


def test_files_are_at_most_a_chapter_long() -> None:
    lengths = {source.path: len(source.text.splitlines()) for source in all_sources()}
    assert {path: count for path, count in lengths.items() if count > LONGEST_FILE} == {}


def test_file_names_say_what_is_inside() -> None:
    assert [source.path for source in all_sources() if source.path.stem in VAGUE] == []


def test_tests_mirror_the_library() -> None:
    """A test file is named after the file that it tests, perhaps with a topic behind the name."""
    library = {source.path.with_suffix("") for source in sources(*LIBRARY)}
    names = [source.path.relative_to("tests").with_suffix("") for source in sources("tests")]
    alone = [
        f"{name}.py"
        for name in names
        if name.name.startswith("test_")
        and name.parent.name
        and not possible_subjects(name) & library
    ]
    assert alone == sorted(NOT_MIRRORED)


def possible_subjects(name: Path) -> set[Path]:
    """Return the files that a test file may be about: `test_a_b` about `a_b`, or about `a`."""
    words = name.name.removeprefix("test_").split("_")
    return {name.with_name("_".join(words[:count])) for count in range(1, len(words) + 1)}


def test_functions_are_short() -> None:
    long = [
        f"{source.path}: {node.name}"
        for source in all_sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and length(node) > LONGEST_FUNCTION
    ]
    assert long == []


def test_every_file_begins_with_a_sentence() -> None:
    docstrings = {source.path: ast.get_docstring(source.tree) or "" for source in all_sources()}
    firsts = {path: docstring.split("\n")[0] for path, docstring in docstrings.items()}
    assert [path for path, first in firsts.items() if not first.endswith(".")] == []


def test_what_is_public_is_documented() -> None:
    undocumented = [
        f"{source.path}: {node.name}"
        for source in sources(*LIBRARY)
        for node in public(source.tree.body)
        if not ast.get_docstring(node)
    ]
    assert undocumented == []
