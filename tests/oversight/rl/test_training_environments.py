"""Any environment is trained with every observer and wrapper, and resumed bit for bit."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from oversight.rl.callbacks import Evaluations
from oversight.runs.folder import RunFolder
from tests.oversight.rl.test_training_resume import Kill, assert_same_run, resume
from tests.oversight.rl.trained_runs import run_train, summary

VALVES = "tests.oversight.valves"
SMALL = (
    *("--method", "naive", "--oversight-probability", "0.5", "--threads", "1", "--device", "cpu"),
    *("--num-envs", "3", "--total-timesteps", "288", "--eval-every", "2", "--eval-episodes", "2"),
    *("--final-episodes", "3", "--checkpoint-every", "1", "--held-out", "0.5"),
    *("--ppo.n-steps", "24", "--ppo.batch-size", "24", "--ppo.n-epochs", "1"),
    *("--ppo.hidden-sizes", "8"),
)
LAKE = ("--env", "FrozenLake-v1")
TANK = ("--env", "tests.oversight.tank:Tank-v0")
CART = ("--env", "CartPole-v1")
REGION = f"Region('{VALVES}:left_is_fuller')"

OBSERVERS = {
    "StepCoin(p)": TANK,
    "Budget(3, every=2)": LAKE,
    "Query(0.1)": LAKE,
    f"Query(rule='{VALVES}:left_is_fuller')": TANK,
    REGION: TANK,
    f"Region('{VALVES}:left_is_fuller', at='arrival')": TANK,
    f"EpisodeCoin(p) & ~{REGION} | StepCoin(0.1)": TANK,
    "Noisy(EpisodeCoin(p), flip=0.3)": CART,
    "Adversarial(EpisodeCoin(p), 3)": LAKE,
    "GaussianNoise(StepDecay(0.99), 3)": TANK,
    f"Schedule('{VALVES}:less_and_less', by='step')": LAKE,
}
WRAPPERS: dict[str, tuple[str, ...]] = {
    "Dict observations": ("--env", "tests.oversight.tank:DictTank-v0", "--method", "routed"),
    "Tuple observations": ("--env", "Blackjack-v1", "--flag", "visible"),
    "images": ("--env", "tests.oversight.tank:ImageTank-v0"),
    "MultiDiscrete actions": (
        "--env",
        f"{VALVES}:Valves-v0",
        "--outcome",
        f"{VALVES}:how_it_ended",
    ),
    "native lanes": CART,
    "synchronous lanes": (*CART, "--vectorization", "sync"),
    "arguments": (*LAKE, "--env-kwargs", '{"map_name": "8x8", "is_slippery": false}'),
    "horizon": (*CART, "--horizon", "20"),
    "delay by steps": (*TANK, "--delay-steps", "3"),
    "delay by episodes": (*CART, "--delay-episodes", "2"),
    "normalized reward": ("--env", "Pendulum-v1", "--normalize-reward"),
    "visible flag": (*LAKE, "--flag", "visible"),
    "noisy flag": (*TANK, "--flag", "NoisyFlag(miss=0.2)", "--observer", "StepCoin(p)"),
    "proxy": (*TANK, "--proxy", f"{VALVES}:fullness"),
    "allowed info": (*TANK, "--allow", "overflow", "--horizon", "15"),
    "all of them": (
        *(*TANK, "--horizon", "15", "--delay-steps", "2", "--normalize-reward"),
        *("--flag", "visible", "--proxy", f"{VALVES}:fullness", "--observer", f"{REGION}"),
    ),
    "oracle": (*CART, "--method", "oracle"),
    "grid, delayed": ("--grid.horizon", "8", "--delay-episodes", "1", "--normalize-reward"),
    "grid, another observer": ("--grid.horizon", "8", "--observer", "StepCoin(p)"),
}
CASES = {**{name: (*env, "--observer", name) for name, env in OBSERVERS.items()}, **WRAPPERS}


def train_twice(folder: Path, monkeypatch: pytest.MonkeyPatch, *flags: str) -> tuple[Path, Path]:
    """Train a run, and once more with an interruption after half of it."""
    whole, cut = folder / "whole", folder / "cut"
    assert run_train(*SMALL, *flags, "--run-dir", whole) == 0
    measure = Evaluations.measure

    def measure_or_die(self: Evaluations) -> None:
        if self.num_timesteps:
            raise Kill
        measure(self)

    with monkeypatch.context() as patched:
        patched.setattr(Evaluations, "measure", measure_or_die)
        with pytest.raises(Kill):
            run_train(*SMALL, *flags, "--run-dir", cut)
    assert not RunFolder(cut).summary.exists()
    assert resume("--resume", cut) == 0
    return whole, cut


@pytest.mark.parametrize("name", CASES)
def test_interrupted_run_resumes_to_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = train_twice(tmp_path, monkeypatch, *CASES[name])
    assert_same_run(whole, cut)
    flags = dict(zip(CASES[name][::2], CASES[name][1::2], strict=False))
    stored = json.loads(RunFolder(cut).config.read_text())
    for flag in ("observer", "flag", "proxy"):
        if f"--{flag}" in flags:
            assert stored[flag] == flags[f"--{flag}"]
    shutil.rmtree(tmp_path)


@pytest.mark.slow  # its policy is a CNN
@pytest.mark.skipif(
    find_spec("procgen") is None,
    reason="Procgen is not installed: pip install --no-deps -r requirements-procgen.txt",
)
def test_interrupted_run_in_procgen_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = ("--env-kwargs", '{"num_levels": 3}', "--alpha", "0.5")
    whole, cut = train_twice(tmp_path, monkeypatch, "--env", "ProcgenMaze-v0", *levels)
    assert_same_run(whole, cut)


@pytest.mark.slow  # processes start slowly
def test_run_in_processes_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = train_twice(tmp_path, monkeypatch, *TANK, "--vectorization", "async")
    assert_same_run(whole, cut)
    assert run_train(*SMALL, *TANK, "--run-dir", tmp_path / "sync") == 0
    assert summary(whole)["eval"] == summary(tmp_path / "sync")["eval"]
