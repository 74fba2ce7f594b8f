"""The page of an inspection: self-contained, escaped, and without errors in a browser."""

import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from oversight.inspection.content import (
    Inspection,
    Passage,
    Picture,
    Section,
    Table,
    Tokens,
)
from oversight.inspection.page import FOLDER, render, show, write
from oversight.inspection.route_map import RouteMap
from oversight.runs.folder import read_json

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8ffff3f0005fe02fea7e0c8a80000000049454e44ae426082"
)


def made() -> Inspection:
    """Return an inspection with every kind of block, and a name that HTML would misread."""
    row = {"<goal>": 1.0}
    return Inspection(
        subject="a run",
        title="What <b>each</b> module learned",
        findings=["Without <goal>, the return is 0."],
        route_map=RouteMap(
            modules={"<goal>": "kept"}, weights={"seen": row}, norms={"seen": row}, caption=""
        ),
        sections=[
            Section(
                anchor="all",
                title="All",
                lead="Everything.",
                blocks=[
                    Table(
                        title="T", caption="c", names="n", columns=["x"], rows={"<r>": ["1\n+1"]}
                    ),
                    Picture(name="dot", title="P", caption="c", alt="a dot", png=PNG),
                    Tokens(title="promoted", tokens=[(" <owl>", 1.5), (" sea", -0.5)]),
                    Passage(title="text", pieces=[("An ", 0.0), ("<owl>", 2.0)], most=2.0),
                ],
            )
        ],
        repeat="python -m oversight.inspect runs/x",
        about={"Method": "routed"},
        data={"kind": "test"},
    )


def test_page_is_escaped_and_loads_nothing() -> None:
    page = render(made())
    assert "<b>each</b>" not in page
    assert "&lt;owl&gt;" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "<script" not in page
    assert "@import" not in page
    assert "url(http" not in page


def test_shades_are_relative_to_the_full_shade() -> None:
    passage = Passage(title="", pieces=[], most=2.0)
    assert [passage.shade(value) for value in (0.0, 1.0, 2.0, 5.0, -1.0)] == [
        *(0.0, 50.0, 100.0, 100.0, -50.0)
    ]
    assert Passage(title="", pieces=[], most=0.0).shade(1.0) == 0.0


def test_files_are_written_and_written_again(tmp_path: Path) -> None:
    page = write(made(), tmp_path)
    first = page.read_bytes()
    assert write(made(), tmp_path).read_bytes() == first
    assert {each.name for each in (tmp_path / FOLDER).iterdir()} == {
        *("index.html", "map.png", "map.svg", "dot.png", "inspection.json")
    }
    assert read_json(tmp_path / FOLDER / "inspection.json") == {"kind": "test"}


def test_terminal_shows_findings_tables_and_tokens() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    show(made(), console)
    text = console.export_text()
    assert "Without <goal>" in text
    assert "<r>" in text
    assert "' <owl>' +1.50" in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_page_opens_in_a_browser_without_errors(tmp_path: Path) -> None:
    page = write(made(), tmp_path)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    done = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "What &lt;b&gt;each&lt;/b&gt; module learned" in done.stdout
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
