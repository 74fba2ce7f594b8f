"""The command `oversight.train`: its folders, and its refusals in one line with exit code 2."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch

from envs.procgen.games import level_source
from oversight import train as command
from oversight.runs.folder import RunFolder
from oversight.runs.parallel import locked
from tests.oversight.rl.trained_runs import (
    TINY,
    contents,
    rollouts,
    run_evaluate,
    run_train,
)
from tests.oversight.runs.refusals import Capture, refused


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--env PartialGird-v0", "'PartialGird-v0' mean 'PartialGrid-v0'"),
        ("--env no_module:Cart-v1", "'no_module:Cart-v1' No module named"),
        ("--env CartPole-v1 --grid.size 6", "grid.* PartialGrid-v0 CartPole-v1 --env-kwargs"),
        ("--env CartPole-v1 --noise.flips 0.1", "noise.* CartPole-v1 --observer Noisy(...)"),
        ("--env CartPole-v1 --env-kwargs {", "env_kwargs '{' JSON"),
        ("--env CartPole-v1 --env-kwargs [1]", "env_kwargs '[1]' JSON object"),
        ('--env CartPole-v1 --env-kwargs {"speed":3}', "CartPole-v1 cannot be made speed"),
        ("--env CartPole-v1 --observer Coin(1)", "observer 'Coin(1)' EpisodeCoin"),
        ("--env CartPole-v1 --flag maybe", "flag 'maybe' NoisyFlag"),
        ("--env CartPole-v1 --observer Query() --flag visible", "visible Query(rule=...)"),
        ("--env CartPole-v1 --proxy none", "'none' module:name"),
        ("--env CartPole-v1 --method paper", "'paper' proxy --proxy module:function"),
        ("--env CartPole-v1 --method ipw --observer StepCoin(p)", "'ipw' --ppo.propensity"),
        ("--env CartPole-v1 --horizon 0", "horizon 1 or more 0"),
        ("--env CartPole-v1 --horizon 9 --vectorization native", "native horizon 9 sync"),
        ("--env Acrobot-v1 --vectorization native", "Acrobot-v1 vector entry point sync"),
        ("--env CartPole-v1 --delay-steps 0", "delay_steps 1 or more 0"),
        ("--env CartPole-v1 --delay-steps 1 --delay-episodes 1", "delay_steps delay_episodes one"),
        ("--env CartPole-v1 --allow observed", "allow 'observed' environment itself"),
        ("--env CartPole-v1 --outcome none:end", "'none:end' cannot be imported"),
        ("--env tests.oversight.tank:Closed-v0", "Closed-v0 reset options wrapper"),
        ("--horizon 9", "horizon 9 PartialGrid-v0 --grid.horizon"),
        ("--flag visible", "flag 'visible' PartialGrid-v0 --grid.flag"),
        ("--vectorization sync", "vectorization sync PartialGrid-v0"),
        ("--noise.flips 0.1 --observer EpisodeCoin(p)", "noise observer Noisy(...)"),
        ("--method no_module:OWN", "'no_module:OWN' cannot be imported"),
        ("--method tests.oversight.tank:Tank", "'tests.oversight.tank:Tank' agents.Method"),
        ("--method ruted", "'ruted' mean 'routed' choose paper unrouted naive filtered oracle"),
        ("--config smok", "'smok' mean smoke"),
        ("--config", "--config Missing value"),
        ("--sed 3", "'--sed' mean --seed --help"),
        ("--ppo.gama 0.9", "'--ppo.gama' mean --ppo.gamma"),
        ("--ppo.gama=0.9", "'--ppo.gama' mean --ppo.gamma"),
        ("--learning-rate 1", "'--learning-rate' mean --ppo.learning-rate"),
        ("smoke", "'smoke' --config"),
        ("--seed three", "--seed 'three'"),
        ("--seed", "--seed Missing value"),
        ("--seed -1", "seed -1 from 0 to 2**32 - 1"),
        ("--seed 4294967296", "seed 4294967296 from 0 to 2**32 - 1"),
        ("--device gpu", "'gpu' --device 'auto', 'cpu', 'cuda'"),
        ("--oversight-probability 1.1", "oversight_probability 1.1 [0, 1]"),
        ("--oversight-probability -0.1", "oversight_probability -0.1 [0, 1]"),
        ("--oversight-probability nan", "oversight_probability nan [0, 1]"),
        ("--num-envs 0", "num_envs 0 1 or more"),
        ("--total-timesteps 0", "total_timesteps 0 1 or more"),
        ("--total-timesteps 1e6", "--total-timesteps '1e6'"),
        ("--threads 0", "threads 0 from 1 to 1024"),
        ("--threads 100000", "threads 100000 from 1 to 1024"),
        ("--num-envs 1000000000", "num_envs 1000000000 ppo.n_steps GiB memory lower"),
        ("--ppo.n-steps 1000000000", "num_envs ppo.n_steps 1000000000 GiB memory lower"),
        ("--eval-every 0", "eval_every 0 1 or more"),
        ("--eval-episodes 0", "eval_episodes 0 1 or more"),
        ("--final-episodes -5", "final_episodes -5 1 or more"),
        ("--checkpoint-every 0", "checkpoint_every 0 1 or more"),
        ("--held-out 1", "held_out 1.0 [0, 0.9]"),
        ("--held-out nan", "held_out nan [0, 0.9]"),
        ("--num-envs 8 --ppo.batch-size 4096", "batch_size 4096 rollout 64 num_envs 8 512"),
        ("--ppo.batch-size 1", "batch_size 1 at least 2"),
        ("--ppo.learning-rate nan", "learning_rate nan positive"),
        ("--ppo.hidden-sizes", "hidden_sizes positive ()"),
        ("--ppo.gamma 1.5", "gamma 1.5 [0, 1]"),
        ("--grid.size 1", "size 1 2 to 100"),
        ("--grid.horizon 0", "horizon 0 at least 1"),
        ("--grid.flag shown", "'shown' --grid.flag 'visible', 'hidden'"),
        ("--noise.flips 1.1", "noise.flips 1.1 0 to 1"),
        ("--noise.false-positive -0.1", "noise.false_positive -0.1 0 to 1"),
        ("--noise.dropped nan", "noise.dropped nan 0 to 1"),
        ("--noise.unseen-rows -1", "noise.unseen_rows -1 negative"),
        ("--noise.unseen-rows 6", "noise.unseen_rows 6 at most 5 rows"),
        ("--ppo.agent-channel 0", "agent_channel 0 no effect 'routed' leave out reward-map"),
        ("--method score-maps --ppo.agent-channel 0", "0 no effect 'score-maps' imputed-map"),
        ("--method reward-map --ppo.agent-channel 4", "agent_channel planes 0 to 3 4"),
        ("--ppo.masked-channels 3 7", "masked_channels planes 0 to 3 (3, 7)"),
        ("--noise.flips 0.2 --grid.flag hidden", "noise grid.flag visible leave out"),
        ("--resume", "--resume one run folder --run-dir"),
        ("--resume one two", "--resume one run folder one, two"),
        ("--resume one --run-dir two", "--resume one run folder one, two"),
        ("--resume nowhere", "nowhere/config.json No such file run's folder"),
        ("--resume nowhere --config smoke", "--resume --config"),
    ],
)
def test_train_refuses_invalid_arguments(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, run_train, *flags.split())
    for word in words.split():
        assert word in line
    assert not list(tmp_path.iterdir())


def test_missing_package_of_an_environment_is_refused(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for module in ("cffi", "procgen"):
        monkeypatch.setitem(sys.modules, module, None)
    level_source.cache_clear()
    line = refused(capsys, run_train, "--env", "ProcgenCoinRun-v0")
    assert "pip install --no-deps -r requirements-procgen.txt" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("columns", ["20", "200"])
def test_error_line_does_not_depend_on_the_terminal_width(
    monkeypatch: pytest.MonkeyPatch, encoding: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    monkeypatch.setattr("sys.stderr", shown := io.StringIO())
    assert run_train("--seed", "x") == 2
    line = "error: --seed: invalid literal for int() with base 10: 'x'\n"
    assert shown.getvalue() == line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_train_refuses_an_unavailable_gpu(capsys: Capture, copied: Path, tmp_path: Path) -> None:
    before = contents(copied)
    new = tmp_path / "new"
    for run, *args in (
        (run_train, "--run-dir", new),
        (run_train, "--resume", copied),
        (run_evaluate, copied),
    ):
        line = refused(capsys, run, *args, "--device", "cuda")
        assert "cuda" in line
        assert "auto or cpu" in line
    assert contents(copied) == before
    assert not new.exists()


def test_train_does_not_overwrite_a_run(capsys: Capture, copied: Path) -> None:
    before = contents(copied)
    line = refused(capsys, run_train, "--config", "smoke", "--run-dir", copied)
    assert f"{copied} already holds a run" in line
    assert "--resume" in line
    assert "--run-dir" in line
    assert contents(copied) == before


def test_two_processes_cannot_train_in_one_folder(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, copied: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "locked", partial(locked, patience=0))
    for folder, *args in (
        (copied, "--resume", copied),
        (tmp_path / "new", "--config", "smoke", "--run-dir", tmp_path / "new"),
    ):
        with locked(folder):
            before = contents(folder)
            line = refused(capsys, run_train, *args)
            assert f"another process is working in {folder}" in line
            assert contents(folder) == before


def test_train_does_not_overwrite_a_run_that_began_while_it_waited(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @contextmanager
    def wait_for_another(folder: Path) -> Iterator[None]:
        (folder / "config.json").write_text("{}")
        yield

    monkeypatch.setattr(command, "locked", wait_for_another)
    line = refused(capsys, run_train, "--config", "smoke", "--run-dir", tmp_path)
    assert f"{tmp_path} already holds a run" in line


def test_train_refuses_a_run_folder_below_a_file(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "run"
    line = refused(capsys, run_train, "--config", "smoke", "--run-dir", path)
    assert f"{path} cannot be written (Not a directory)" in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--method naive", "method 'routed' 'naive'"),
        ("--seed 7", "seed 0 7"),
        ("--oversight-probability 0.5", "oversight_probability 0.1 0.5"),
        ("--num-envs 32", "num_envs 16 32"),
        ("--ppo.hidden-sizes 8 8", "ppo.hidden_sizes (16, 16) (8, 8)"),
        ("--ppo.no-anneal", "ppo.anneal True False"),
        ("--grid.flag hidden", "grid.flag 'visible' 'hidden'"),
        ("--noise.false-positive 0.4", "noise.false_positive 0.0 0.4"),
    ],
)
def test_resume_refuses_changed_settings(
    capsys: Capture, copied: Path, flags: str, words: str
) -> None:
    before = contents(copied)
    line = refused(capsys, run_train, "--resume", copied, *flags.split())
    for word in (*words.split(), "leave", "without", "--resume"):
        assert word in line
    assert contents(copied) == before


def test_resume_refuses_another_environment(capsys: Capture, copied: Path) -> None:
    config = RunFolder(copied).config
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "env": "Elsewhere-v0"}))
    for run, *args in ((run_train, "--resume", copied), (run_evaluate, copied)):
        assert "'Elsewhere-v0'" in refused(capsys, run, *args)


def test_default_run_folder_is_the_next_free_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert run_train(*TINY, *rollouts(1), "--method", "naive", "--seed", "5") == 0
    names = sorted(path.name for path in (tmp_path / "runs" / "PartialGrid-v0").iterdir())
    assert names == ["naive-p0.1-seed5", "naive-p0.1-seed5-2", "naive-p0.1-seed5-3"]
