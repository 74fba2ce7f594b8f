"""A run in a thread of a larger program, where no signal can be handled."""

import threading
from pathlib import Path

from oversight.runs.folder import RunFolder
from tests.oversight.rl.trained_runs import TINY, rollouts, run_train


def test_a_run_in_a_thread_trains_to_the_end(tmp_path: Path) -> None:
    codes: list[int] = []
    flags = (*TINY, *rollouts(1), "--run-dir", tmp_path)
    thread = threading.Thread(target=lambda: codes.append(run_train(*flags)))
    thread.start()
    thread.join()
    assert codes == [0]
    assert RunFolder(tmp_path).model.exists()
