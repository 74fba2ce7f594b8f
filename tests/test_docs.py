"""The examples of the README and of the site run, and what they name exists."""

import doctest
import re
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import pytest
import yaml
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor

from agents import RoutedPPO
from configs import lm as language
from configs.rl import METHODS, PRESETS
from envs import PartialOversight
from lm.ask import AskConfig
from lm.config import StudyConfig
from lm.data.sources import read_documents
from lm.evaluation.harness import find_questions
from lm.facts import FactsConfig
from lm.prepare import PrepareConfig
from lm.profiles import ProfilesConfig
from lm.steering.config import StudyConfig as SteeringStudyConfig
from lm.steering.vectors import METHODS as VECTORS
from lm.texts import MIN_TEXTS, require_distinct
from oversight.certify import CertifyConfig
from oversight.evaluate import EvaluateConfig
from oversight.inspect import InspectConfig
from oversight.report import ReportConfig
from oversight.representations.config import StudyConfig as SplitStudyConfig
from oversight.rl.config import TrainConfig
from oversight.runs import cli
from oversight.sweep import SweepConfig
from oversight.tune import TuneConfig

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
TEXT = "\n".join(TEXTS.values())
FIRST_SCREEN = 40  # lines
FLAGS = {
    "lm.ask": {*cli.flags(AskConfig)},
    "lm.prepare": {*cli.flags(PrepareConfig)},
    "lm.facts": {*cli.flags(FactsConfig)},
    "lm.profiles": {*cli.flags(ProfilesConfig)},
    "oversight.train": {*cli.flags(cli.Launch), *cli.flags(TrainConfig)},
    "oversight.evaluate": {*cli.flags(EvaluateConfig)},
    "oversight.certify": {*cli.flags(CertifyConfig)},
    "oversight.inspect": {*cli.flags(InspectConfig)},
    "oversight.report": {*cli.flags(ReportConfig)},
    "oversight.split": {*cli.flags(cli.Launch), *cli.flags(SplitStudyConfig)},
    "oversight.sweep": {*cli.flags(SweepConfig)},
    "oversight.tune": {*cli.flags(TuneConfig)},
    "lm.steer": {*cli.flags(cli.Launch), *cli.flags(SteeringStudyConfig)},
    "lm.unlearn": {*cli.flags(cli.Launch), *cli.flags(StudyConfig)},
}


def blocks(text: str, language: str) -> list[list[str]]:
    """Return the lines of every fenced block of a language that ends within the text."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block.splitlines() for block in found]


def commands(text: str) -> list[str]:
    """Return every shell command of a text, without its comment."""
    shell = [line for block in blocks(text.replace("\\\n", ""), "bash") for line in block]
    return [re.sub(r"\s#.*", "", line) for line in shell]


def files(text: str) -> dict[str, str]:
    """Return the content of every file that a page shows, by its name."""
    shown = r"^```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)^```$"
    return dict(re.findall(shown, text, re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with the files that a page shows, as its reader does."""
    for name, content in files(TEXTS[page]).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    registered = dict(gym.registry)
    yield tmp_path
    for name in files(TEXTS[page]):
        sys.modules.pop(name.removesuffix(".py"), None)
    gym.registry.clear()
    gym.registry.update(registered)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if "\n>>> " in text])
def test_snippets_of_page_pass(page: str) -> None:
    results = doctest.testfile(str(ROOT / page), module_relative=False, encoding="utf-8")
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("page", TEXTS)
def test_python_blocks_are_doctests(page: str) -> None:
    for block in blocks(TEXTS[page], "python"):
        assert block[0].startswith(">>> ")


TINY = {
    "oversight.train": "--num-envs 2 --ppo.n-steps 32 --ppo.batch-size 64 --ppo.n-epochs 1 "
    "--total-timesteps 64 --final-episodes 2 --eval-episodes 2 --held-out 0",
    "oversight.evaluate": "--episodes 2 --render-episodes 1",
    "oversight.certify": "--num-envs 4 --ppo.n-steps 32 --ppo.batch-size 64 "
    "--steps 512 --episodes 256",
}
"""Flags that make a command short; the last one of a name counts."""


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if files(text)])
def test_commands_run_with_files_of_page(page: str) -> None:
    for line in commands(TEXTS[page]):
        for module, flags in re.findall(r"^python -m ((?:oversight|lm)\.\w+) (.*)", line):
            main = import_module(module).main
            code = main([*shlex.split(flags), *TINY.get(module, "").split()])
            assert code == 1 if "--probe" in flags else not code, line


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", ["docs/recipes.md"])
def test_settings_for_rl_zoo_hide_rewards_inside_the_monitor() -> None:
    settings = yaml.safe_load(files(TEXTS["docs/recipes.md"])["routed.yml"])["CartPole-v1"]
    (wrapper,) = settings["env_wrapper"]
    ((path, arguments),) = wrapper.items()
    module, _, name = path.rpartition(".")
    wrap = getattr(import_module(module), name)
    env = make_vec_env("CartPole-v1", wrapper_class=wrap, wrapper_kwargs=arguments)
    assert env.env_is_wrapped(Monitor) == env.env_is_wrapped(PartialOversight) == [True]
    agent = RoutedPPO(settings["policy"], env, settings["method"], n_steps=16, batch_size=16)
    assert agent.learn(16).num_timesteps == 16


def test_first_screen_has_two_one_line_commands() -> None:
    first = "\n".join(TEXTS["README.md"].splitlines()[:FIRST_SCREEN]) + "\n"
    shell = blocks(first, "bash")
    assert [len(block) for block in shell] == [1, 1]
    (train,), (test,) = shell
    assert "pip install" in train
    assert "-m oversight.train --env PartialGrid-v0" in train
    assert "pip install" in test
    assert test.endswith("pytest")


def test_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150
    assert README.stat().st_size <= 9000


def test_commands_and_flags_exist() -> None:
    called = set()
    for line in commands(TEXT):
        for module, rest in re.findall(r"(?:python3?|torchrun.*) -m (\S+)(.*)", line):
            if module in FLAGS:
                called.add(module)
                given = re.findall(r"--[a-z][a-z0-9.-]*", rest)
                # as --ppo.no-centered turns --ppo.centered off
                names = {re.sub(r"(--|\.)no-", r"\1", each) for each in given}
                assert names <= FLAGS[module], line
            else:
                assert module in ("venv", "tensorboard"), line
    assert called == set(FLAGS)


@pytest.mark.parametrize("name", sorted({*re.findall(r"`(--[a-z][a-z0-9.-]*)", TEXT)}))
def test_flags_in_prose_exist(name: str) -> None:
    assert name in {"--help"}.union(*FLAGS.values())


UNLEARNING = sorted(
    {name for _, preset in language.PRESETS.values() for name in preset.get("method", ())}
)


STEERING = sorted(
    {*language.STEERING_PRESETS, *(name for each in VECTORS.values() for name in each)}
)


@pytest.mark.parametrize("name", [*METHODS, *PRESETS, *UNLEARNING, *language.PRESETS, *STEERING])
def test_preset_and_every_method_that_one_uses_is_documented(name: str) -> None:
    assert f"`{name}`" in TEXT


LINKS = [
    (page, target) for page, text in TEXTS.items() for target in re.findall(r"\]\(([^):]+)\)", text)
]


@pytest.mark.parametrize(("page", "target"), sorted({*LINKS}))
def test_linked_file_and_heading_exist(page: str, target: str) -> None:
    path, _, heading = target.partition("#")
    linked = (ROOT / page).parent / path if path else ROOT / page
    assert linked.exists()
    if heading:
        headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}
        assert heading in anchors


@pytest.mark.parametrize("page", sorted({*TEXTS, "LOG.md"}))
def test_every_row_of_a_table_has_as_many_cells_as_its_header(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    tables = re.findall(r"(?:^ *\|.*\n)+", text, re.MULTILINE)
    for header, line, *rows in (table.strip().splitlines() for table in tables):
        assert re.fullmatch(r"[ |:-]+", line), f"no header above {header}"
        cells = [len(re.findall(r"(?<!\\)\|", row)) for row in (header, line, *rows)]
        assert len(set(cells)) == 1, header


def test_no_placeholder_remains() -> None:
    assert not re.findall(r"^[A-Z]{4,}$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(
    "folder", sorted((ROOT / "docs" / "examples").iterdir()), ids=lambda path: path.name
)
def test_examples_are_texts_and_questions_about_them(folder: Path) -> None:
    texts = {
        name: [document.text for document in read_documents(folder / f"{name}.jsonl")]
        for name in ("forget", "retain")
    }
    require_distinct(texts)
    assert min(map(len, texts.values())) >= MIN_TEXTS
    assert find_questions(str(folder / "questions.jsonl")).sources[0].questions
