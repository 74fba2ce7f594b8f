"""A process that is killed while it writes shards leaves a checkpoint to go on from."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lm.training import checkpoints
from lm.training.checkpoints import shards_of
from lm.training.distributed import ScaleConfig
from tests.lm.training.processes import STEPS, Case, trained

ROOT = Path(__file__).parents[3]

KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
import torch, torch.distributed as dist
from lm.training.checkpoints import shards_of
from lm.training.distributed import ScaleConfig
from tests.lm.training.processes import Case, trained

folder = Path(sys.argv[1])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)

def kill():
    while not any((shards_of(folder / "training.pt") / sys.argv[2]).glob(sys.argv[3])):
        time.sleep(0.0002)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
trained(Case("gpt", "parameters"), ScaleConfig(parallel="fsdp"), folder / "training.pt")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "file", "left"),
    [
        (".", "*.part", {0, 4}),  # as the first note is written
        ("step-8", "*", {4, 8}),
        ("step-12", "*.safetensors", {8, 12}),
    ],
)
def test_kill_during_saving_leaves_the_old_or_the_new_checkpoint(
    step: str, file: str, left: set[int], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), step, file]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, check=False, cwd=ROOT, env=env)
    assert killed.returncode == -signal.SIGKILL
    path = tmp_path / "training.pt"
    shards = shards_of(path)
    done = 0
    if (shards / checkpoints.METADATA_FILE).exists():
        done = int(checkpoints.read_sharded(shards)["step"])
    assert done in left
    whole, rest = (trained(Case("gpt", "parameters"), ScaleConfig(), p) for p in (None, path))
    assert rest.losses == pytest.approx(whole.losses[done:], abs=1e-5)
    assert len(rest.losses) == STEPS - done
    assert not shards.exists()
