"""A process that is killed while it writes a checkpoint leaves a whole one to resume from."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lm.training import checkpoints
from lm.training.distributed import ScaleConfig
from tests.lm.training.processes import STEPS, Case, trained

ROOT = Path(__file__).parents[3]

KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
import torch, torch.distributed as dist
from lm.training.distributed import ScaleConfig
from tests.lm.training.processes import Case, trained

folder, saves_before = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)

def kill():
    parts = 0
    while parts <= saves_before:
        while not any(folder.glob("training.pt.*.part")):
            time.sleep(0.0001)
        parts += 1
        while parts <= saves_before and any(folder.glob("training.pt.*.part")):
            time.sleep(0.0001)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
trained(Case("gpt", "parameters"), ScaleConfig(parallel="fsdp"), folder / "training.pt")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("saves_before", "possible_steps"), [(0, {0, 4}), (1, {4, 8})])
def test_old_or_new_checkpoint_is_whole_when_killed_while_saving(
    saves_before: int, possible_steps: set[int], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(saves_before)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, check=False, cwd=ROOT, env=env)
    assert killed.returncode == -signal.SIGKILL
    path = tmp_path / "training.pt"
    done = int(checkpoints.read(path)["step"]) if path.exists() else 0
    assert done in possible_steps
    whole, rest = (trained(Case("gpt", "parameters"), ScaleConfig(), p) for p in (None, path))
    assert rest.losses == pytest.approx(whole.losses[done:], abs=1e-5)
    assert len(rest.losses) == STEPS - done
