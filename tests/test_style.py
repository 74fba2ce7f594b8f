"""The house rules of style that a program can check."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("agents", "configs", "envs", "lm", "oversight", "tests")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
LIBRARY = [path for path in FILES if "tests" not in path.relative_to(ROOT).parts]
UNSAID = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
VAGUE = {"base", "common", "helper", "helpers", "misc", "util", "utils"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def long_functions(path: Path) -> list[str]:
    return [
        node.name
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= 60
    ]


def public(body: list[ast.stmt]) -> Iterator[Definition]:
    """Yield what users may call: public definitions and, in public classes, public methods."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def undocumented(path: Path) -> list[str]:
    return [node.name for node in public(parsed(path).body) if not ast.get_docstring(node)]


def is_plain(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    finished = not any(word in text for word in UNSAID)
    return len(text.splitlines()) <= 500 and text.isascii() and finished and path.stem not in VAGUE


def is_introduced(path: Path) -> bool:
    first = (ast.get_docstring(parsed(path)) or "").split("\n")[0]
    return first.endswith(".")


def test_the_files_are_found() -> None:
    assert len(LIBRARY) > 40
    assert Path(__file__) in FILES


def test_files_are_short_plain_and_finished() -> None:
    assert [path for path in FILES if not is_plain(path)] == []


def test_functions_are_short() -> None:
    assert {path: names for path in FILES if (names := long_functions(path))} == {}


def test_files_say_what_they_are_about() -> None:
    assert [path for path in FILES if not is_introduced(path)] == []


def test_what_is_public_is_documented() -> None:
    assert {path: names for path in LIBRARY if (names := undocumented(path))} == {}
