"""The command line: its frozen help pages, where values come from, and exit codes."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from oversight.evaluate import EvaluateConfig
from oversight.runs import cli
from oversight.runs.folder import RunFolder, write_config


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A part."""

    power: int = 1
    """Of the engine."""
    names: tuple[str, ...] = ()
    """Of the engine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Car:
    """A car. And more."""

    color: str = "red"
    """Of the car."""
    engine: Engine = field(default_factory=Engine)
    """Of the car."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Two values of which one depends on the other."""

    low: int = 0
    high: int = 1

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError("low must be below high")


FAST = Car(engine=Engine(power=9, names=("v",)))
PRESETS: dict[str, cli.Preset] = {
    "default": ("A car.", {}),
    "fast": ("A fast car.", {"engine.power": 9, "engine.names": ("v",)}),
}


def parse(*args: str, default: Car = FAST) -> Car:
    return cli.parse_with_presets(Car, default, args, PRESETS, "car")


def test_flags_are_named_after_fields() -> None:
    assert list(cli.flags(Car)) == ["--color", "--engine.power", "--engine.names"]
    assert "--run" not in cli.flags(EvaluateConfig)  # it has no flag: it comes by position


@dataclass(frozen=True, kw_only=True, slots=True)
class Radio:
    """A part whose setting is named without it."""

    station: Annotated[str, tyro.conf.arg(name="radio-station", prefix_name=False)] = "news"
    """Of the radio."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Van:
    """A van."""

    radio: Radio = field(default_factory=Radio)
    """Of the van."""


def test_flag_without_the_names_around_it_is_known_by_its_own() -> None:
    assert list(cli.flags(Van)) == ["--radio-station"]
    van = cli.override(Van(), {"radio_station": "jazz"})
    assert van == Van(radio=Radio(station="jazz"))
    assert cli.parse(Van, ["--radio-station", "jazz"], "van") == van


def test_flag_overrides_preset_and_preset_overrides_default() -> None:
    assert parse() == FAST
    assert parse("--engine.power", "3") == Car(engine=Engine(power=3, names=("v",)))
    assert parse("--color=blue", default=Car()) == Car(color="blue")
    assert parse("--engine.names", "a", "b").engine.names == ("a", "b")


def test_launch_flags_are_separated_from_other_flags() -> None:
    args = ["--color", "blue", "--config", "fast", "--resume", "a", "--engine.power", "x"]
    launch = cli.parse_part(cli.Launch, args)
    assert launch == cli.Launch(config="fast", resume=(Path("a"),))
    assert cli.parse_part(cli.Launch, ["--color", "blue"]) == cli.Launch()
    assert cli.parse_part(cli.Launch, ["--resume"]) == cli.Launch(resume=())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--colour", "blue"], "unknown argument '--colour': did you mean --color"),
        (["--engine.powr=2"], "unknown argument '--engine.powr': did you mean --engine.power"),
        (["blue"], "unknown argument 'blue': choose from --color, --config, --engine.names"),
        (["--engine.power", "x"], "--engine.power: invalid literal for int.*'x'"),
    ],
)
def test_unknown_flags_and_values_are_refused_with_a_suggestion(
    args: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        parse(*args)


def test_choose_returns_the_named_option_or_suggests_one() -> None:
    assert cli.choose({"fast": 1}, "fast", "preset") == 1
    with pytest.raises(ValueError, match="unknown preset 'fest': did you mean fast"):
        cli.choose({"fast": 1}, "fest", "preset")


def test_override_replaces_nested_values_all_at_once() -> None:
    assert cli.override(Car(), PRESETS["fast"][1]) == FAST
    assert cli.override(FAST, {"color": "blue"}) == replace(FAST, color="blue")
    assert cli.override(FAST, {}) == FAST
    # each of the two values alone would be refused
    assert cli.override(Range(), {"low": 5, "high": 9}) == Range(low=5, high=9)


@pytest.mark.parametrize("name", ["engin.power", "engine.powr", "power", "engine", "color.x"])
def test_override_raises_when_a_setting_is_unknown(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown setting '{name}': (did you mean|choose from)"):
        cli.override(Car(), {name: 1})


def test_parse_or_resume_starts_from_a_preset() -> None:
    def start(*args: str) -> tuple[Car, RunFolder | None]:
        return cli.parse_or_resume(Car, args, PRESETS, "car", ())

    assert start() == (Car(), None)
    assert start("--config", "fast", "--color", "blue") == (replace(FAST, color="blue"), None)
    with pytest.raises(ValueError, match="unknown preset 'fest': did you mean fast"):
        start("--config", "fest")
    with pytest.raises(ValueError, match="unknown preset ''"):
        start("--config", "")


def test_parse_or_resume_reads_the_settings_of_a_run(tmp_path: Path) -> None:
    write_config(RunFolder(tmp_path), FAST)

    def resume(*args: str) -> tuple[Car, RunFolder | None]:
        return cli.parse_or_resume(Car, ["--resume", *args], PRESETS, "car", {"color"})

    assert resume(str(tmp_path)) == (FAST, RunFolder(tmp_path))
    assert resume(str(tmp_path), "--color", "blue")[0] == replace(FAST, color="blue")
    with pytest.raises(ValueError, match=r"the run has engine\.power 9, 3 was given"):
        resume(str(tmp_path), "--engine.power", "3")
    with pytest.raises(ValueError, match="leave --config out"):
        resume(str(tmp_path), "--config", "fast")
    with pytest.raises(ValueError, match="needs one run folder, got none"):
        resume()
    with pytest.raises(ValueError, match="needs one run folder, got a, b"):
        resume("a", "b")


def test_exit_code_is_2_for_user_errors_and_130_for_interrupts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def give(error: BaseException | None) -> Callable[[Sequence[str]], None]:
        def main(args: Sequence[str]) -> None:
            if error is not None:
                raise error

        return main

    assert cli.run(give(None), []) == 0
    assert capsys.readouterr().err == ""
    assert cli.run(give(ValueError("one\n  two")), []) == 2
    assert capsys.readouterr().err == "error: one two\n"
    assert cli.run(give(MemoryError("Unable to allocate 9 GiB")), []) == 2
    assert "error: not enough memory: Unable to allocate 9 GiB" in capsys.readouterr().err
    assert cli.run(give(BrokenPipeError(32, "Broken pipe")), []) == 2  # of another process
    assert capsys.readouterr().err == "error: [Errno 32] Broken pipe\n"
    assert cli.run(give(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err == "interrupted\n"
    with pytest.raises(ZeroDivisionError):  # a fault of ours keeps its traceback
        cli.run(give(ZeroDivisionError()), [])


def test_command_ends_silently_when_nobody_reads_its_output_any_more() -> None:
    program = "from oversight.runs import cli; raise SystemExit(cli.run(lambda args: print(args)))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(
    "args", [["--run-dir", ""], ["--steps", "1", "--out="], ["--resume", "", "--steps", "1"]]
)
def test_empty_path_is_refused_as_it_would_be_the_current_folder(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def main(args: Sequence[str]) -> None:
        pytest.fail("the command was started")

    assert cli.run(main, args) == 2
    assert "is empty: give a path" in capsys.readouterr().err
