"""The house rules of style that a program can check."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("agents", "configs", "envs", "lm", "oversight", "tests")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
LIBRARY = [path for path in FILES if "tests" not in path.relative_to(ROOT).parts]
UNSAID = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
VAGUE = {"base", "common", "helper", "helpers", "misc", "util", "utils"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def named(paths: list[Path]) -> pytest.MarkDecorator:
    ids = [str(path.relative_to(ROOT)) for path in paths]
    return pytest.mark.parametrize("path", paths, ids=ids)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def public(body: list[ast.stmt]) -> Iterator[Definition]:
    """Yield what users may call: public definitions and, in public classes, public methods."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def test_the_files_are_found() -> None:
    assert len(LIBRARY) > 40
    assert Path(__file__) in FILES


@named(FILES)
def test_a_file_is_short_plain_and_finished(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    assert text.isascii()
    for word in UNSAID:
        assert word not in text
    assert path.stem not in VAGUE


@named(FILES)
def test_a_function_is_short(path: Path) -> None:
    for function in functions(path):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < 40, function.name


@named(FILES)
def test_a_file_says_what_it_is_about(path: Path) -> None:
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
    assert first.endswith(".")


@named(LIBRARY)
def test_what_is_public_is_documented(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [node.name for node in public(tree.body) if not ast.get_docstring(node)] == []
