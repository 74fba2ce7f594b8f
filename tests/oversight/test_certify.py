"""The command `oversight.certify`: its output, its exit codes, and its refusals."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from agents import METHODS
from envs.worlds import WORLDS
from oversight import certify
from oversight.certificate.leak_meter.planted import KNOWN
from oversight.certificate.leaks import HARMLESS, LEAKS
from oversight.certificate.recording import CHANNELS
from oversight.runs import cli

QUICK = (
    *("--steps", "128", "--num-envs", "8", "--ppo.n-steps", "8", "--ppo.batch-size", "32"),
    *("--ppo.hidden-sizes", "8"),
)
VALVES, TANK = "tests.oversight.valves", "tests.oversight.tank:Tank-v0"
LEFT, PROXY = f"{VALVES}:left_is_fuller", f"{VALVES}:fullness"
Capture = pytest.CaptureFixture[str]


def run(*args: object) -> int:
    return cli.run(certify.main, [*QUICK, *map(str, args)])


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--env", "CartPole-v1", "--oversight-probability", "0.6"),
        ("--env", "FrozenLake-v1", "--wrapper", "single"),
        ("--env", "MiniGrid-Empty-5x5-v0", "--oversight-probability", "0.6"),
        ("--env", "PartialGrid-v0", "--wrapper", "vector"),
        ("--env", "ColorShape-v0", "--method", "naive", "--steps", "512"),
        ("--env", "CartPole-v1", "--horizon", "12", "--delay-steps", "2", "--normalize-reward"),
        ("--env", TANK, "--observer", f"Region('{LEFT}')", "--flag", "visible"),
    ],
    ids=" ".join,
)
def test_certify_exits_with_0_when_no_hidden_reward_reaches_the_learner(
    flags: tuple[str, ...], capsys: Capture
) -> None:
    assert run(*flags) == 0
    shown = capsys.readouterr().out
    for channel in CHANNELS:
        assert f"{channel} " in shown
    assert shown.count("  identical ") == len(CHANNELS)
    assert "certified: " in shown
    assert "NOT" not in shown


@pytest.mark.slow  # up to half a minute each
@pytest.mark.parametrize("env", WORLDS)
@pytest.mark.parametrize(
    "name", ["score-maps", "imputed-conv", "kl", "naive", "filtered", "routed"]
)
def test_methods_of_the_study_of_grid_worlds_are_certified_in_each_of_them(
    env: str, name: str, capsys: Capture
) -> None:
    assert run("--env", env, "--method", name, "--steps", "512") == 0
    assert "certified: " in capsys.readouterr().out


@pytest.mark.slow  # three seconds each
@pytest.mark.parametrize(
    "flags",
    [
        ("--observer", "StepCoin(p)", "--delay-episodes", "1"),
        ("--env", "CartPole-v1", "--vectorization", "native"),
        ("--env", "FrozenLake-v1", "--observer", "Query(0.1)"),
        ("--env", TANK, "--proxy", PROXY, "--method", "paper"),
        ("--env", TANK, "--wrapper", "single", "--observer", "Noisy(StepCoin(p), flip=0.3)"),
    ],
    ids=" ".join,
)
def test_certify_covers_every_kind_of_flag(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--oversight-probability", "0.6", *flags) == 0
    assert "certified: " in capsys.readouterr().out


def test_certify_exits_with_1_for_the_oracle(capsys: Capture) -> None:
    assert run("--method", "oracle") == 1
    shown = capsys.readouterr().out
    assert re.search(r"experience +differs at step \d+: rewards \(by 1e9\)", shown)
    assert "NOT certified" in shown


@pytest.mark.parametrize(("probability", "missing"), [(1, "hidden"), (0, "observed")])
def test_certify_exits_with_3_when_rewards_of_one_kind_are_missing(
    probability: int, missing: str, capsys: Capture
) -> None:
    assert run("--env", "CartPole-v1", "--oversight-probability", probability) == 3
    shown = capsys.readouterr().out
    assert f"inconclusive: no reward of 128 steps was {missing}" in shown
    assert "A certificate cannot see" in shown


def test_all_methods_are_certified_except_oracles() -> None:
    chosen = certify.chosen_methods(certify.CertifyConfig(method="all"))
    assert set(chosen) == set(METHODS) - {"oracle", "oracle-sampled"}


def test_certify_all_saves_every_certificate(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: METHODS[name] for name in ("routed", "naive", "oracle")}
    monkeypatch.setattr(certify, "METHODS", few)
    path = tmp_path / "certificates.json"
    assert run("--method", "all", "--save", path) == 0
    saved = json.loads(path.read_text())
    assert set(saved["certificates"]) == {"routed", "naive"}
    assert saved["settings"]["num_envs"] == 8
    for each in saved["certificates"].values():
        assert each["passed"]
        assert each["steps"] == 128 > each["observed"] + each["hidden"]
        assert set(each["findings"]) == set(CHANNELS)
        assert all(finding["compared"] for finding in each["findings"].values())
    assert capsys.readouterr().out.count("certified: ") == 2


def test_self_test_reports_each_leak_and_harmless_part(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    few = {name: LEAKS[name] for name in ("pays-hidden-rewards", "logs-true-return")}
    monkeypatch.setattr(certify, "LEAKS", few)
    monkeypatch.setattr(certify, "HARMLESS", {"delayed-oversight": HARMLESS["delayed-oversight"]})
    assert run("--self-test") == 0
    shown = capsys.readouterr().out
    assert "found 2 of 2 leaks; 1 of 1 harmless parts passed" in shown
    for name, channel in (("pays-hidden-rewards", "experience"), ("logs-true-return", "scalars")):
        assert re.search(rf"{name} .*{channel}", shown)


def test_self_test_is_refused_without_matplotlib(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certify, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs matplotlib: pip install"):
        certify.CertifyConfig(self_test=True)


def test_self_test_exits_with_1_when_a_leak_is_not_found(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    not_found = replace(HARMLESS["delayed-oversight"], shows="experience")
    monkeypatch.setattr(certify, "LEAKS", {"delayed-oversight": not_found})
    monkeypatch.setattr(certify, "HARMLESS", {})
    assert run("--self-test") == 1
    assert "found 0 of 1 leaks" in capsys.readouterr().out


def test_probe_finds_that_the_length_tells_the_return_of_cart_pole(
    tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "leaks.json"
    flags = ("--probe", "--env", "CartPole-v1", "--episodes", "140", "--save", path)
    assert run(*flags) == 1
    shown = capsys.readouterr().out
    assert re.search(r"length +(1.000|0.99\d) ", shown)
    assert "LEAK: " in shown
    saved = json.loads(path.read_text())
    assert saved["report"]["leaks"]
    assert saved["settings"]["episodes"] == 140
    assert saved["report"]["episodes"]["rows"][3]["channel"] == "length"


def test_probe_exits_with_3_where_nothing_is_hidden(capsys: Capture) -> None:
    flags = ("--env", "CartPole-v1", "--oversight-probability", "1", "--policy", "trained")
    assert run("--probe", "--episodes", "3", *flags) == 3
    assert "inconclusive: " in capsys.readouterr().out


@pytest.mark.parametrize(("leaks", "code"), [((), 0), (("length",), 1)])
def test_self_test_of_the_probe_exits_with_1_for_an_environment_misjudged(
    leaks: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    known = replace(KNOWN["coin"], leaks=frozenset(leaks))
    monkeypatch.setattr(certify, "KNOWN", {"coin": known})
    monkeypatch.setattr("oversight.certificate.leak_meter.planted.EPISODES", 100)
    assert run("--probe", "--self-test") == code
    shown = capsys.readouterr().out
    assert re.search(r"coin .*nothing", shown)
    assert f"{1 - code} of 1" in shown


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--env CartPol-v1", "unknown environment 'CartPol-v1': did you mean CartPole-v1"),
        ("--env nowhere:Game-v0", "'nowhere:Game-v0' No module named 'nowhere'"),
        ("--env tests.oversight.tank:ListTank-v0", "ListTank-v0 arrays Tuple ObservationWrapper"),
        ("--method ruted", "'ruted' did you mean 'routed'"),
        (
            "--oversight-probability 1.5",
            "oversight_probability 1.5 give a number in [0, 1]",
        ),
        ("--steps 0", "steps 0 was given: give a whole number, 1 or more"),
        ("--probe --episodes 0", "episodes 0 was given: give a whole number, 1 or more"),
        ("--num-envs 2", "ppo.batch_size 32 is larger than a rollout"),
        ("--wrapper both", "'both' --wrapper 'vector'"),
        ("--autoreset later", "'later' --autoreset"),
        ("--save /nowhere/at/all.json", "/nowhere/at is not a folder"),
        ("--save /", "--save / cannot be written: it is a folder; name another file"),
        ("--env :", "environment ':' Empty module name"),
        ("--threads 5000", "threads 5000 was given: give a whole number from 1 to 1024"),
        ("--sed 3", "'--sed' did you mean --seed"),
    ],
)
def test_invalid_settings_are_refused_in_one_line(flags: str, words: str, capsys: Capture) -> None:
    assert run(*flags.split()) == 2
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert last.startswith("error: ")
    position = 0
    for word in words.split(" "):
        assert word in last[position:], (word, last)
        position = last.index(word, position)
