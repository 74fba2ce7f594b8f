"""The command `oversight.evaluate` refuses invalid arguments in one line, with exit code 2."""

from pathlib import Path

import pytest
import torch

from oversight.runs.folder import RunFolder
from tests.oversight.rl.trained_runs import contents, run_evaluate, run_train
from tests.oversight.runs.refusals import Capture, refused


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("", "Missing PATH Folder of the run"),
        ("nowhere", "nowhere/config.json No such file run's folder"),
        ("RUN more", "'more' --episodes"),
        ("RUN --modul proxy", "'--modul' mean --module"),
        ("RUN --module prox", "'prox' all, deployed, goal, proxy, mixture"),
        ("RUN --weights best", "'best' --weights 'last', 'observed', 'oracle_selection'"),
        ("RUN --weights observed", "RUN no weights 'observed' selected no last, oracle_selection"),
        ("RUN --episodes 0", "episodes 0 1 or more"),
        ("RUN --threads 0", "threads 0 from 1 to 1024"),
        ("RUN --render-episodes 0", "render_episodes 0 1 or more"),
        ("RUN --seed -1", "seed -1 from 0 to 2**32 - 1"),
        ("RUN --oversight-probability 2", "oversight_probability 2 [0, 1]"),
        ("RUN --oversight-probability nan", "oversight_probability nan [0, 1]"),
        ("RUN --device tpu", "'tpu' --device 'auto', 'cpu', 'cuda'"),
        ("RUN --render film.mp4", "film.mp4 GIF .gif"),
        ("RUN --render RUN/model.zip/film.gif", "model.zip/film.gif not a folder"),
        ("RUN --render nowhere/film.gif", "nowhere/film.gif not a folder"),
        ("RUN --render RUN/../folder.gif", "folder.gif it is a folder; name another file"),
    ],
)
def test_evaluate_refuses_invalid_arguments(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, copied: Path, flags: str, words: str
) -> None:
    monkeypatch.chdir(copied.parent)
    (copied.parent / "folder.gif").mkdir()
    before = contents(copied.parent)
    line = refused(capsys, run_evaluate, *flags.replace("RUN", str(copied)).split())
    for word in words.replace("RUN", str(copied)).split():
        assert word in line
    assert contents(copied.parent) == before


def test_evaluate_refuses_a_run_of_an_unavailable_gpu(capsys: Capture, copied: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    config = RunFolder(copied).config
    config.write_text(config.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    assert "auto or cpu" in refused(capsys, run_train, "--resume", copied)
    assert run_train("--resume", copied, "--device", "cpu") == 0
