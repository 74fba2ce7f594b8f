"""The ledger: what was written is read, whatever a kill cut off and a resume played again."""

import doctest
import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import read_ledger, summarize_episodes
from envs.wrappers import ledger
from envs.wrappers.ledger import HEADER, RECORD, LedgerWriter, Records

STEP = st.tuples(
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.floats(width=64),
    st.sampled_from([-1, 0, 1]),
    st.integers(0, 3),
)
Step = tuple[int, int, int, float, int, int]


def write(path: Path, steps: list[Step]) -> None:
    writer = LedgerWriter(path)
    for lane, episode, step, reward, observed, ended in steps:
        writer.append(lane, episode, step, reward, observed=observed, ended=ended)
    writer.close()


def bits(records: Records) -> list[tuple[bytes, ...]]:
    names = ("lane", "episode", "step", "reward", "observed", "ended")
    return [tuple(record[name].tobytes() for name in names) for record in records]


def by_hand(steps: list[Step]) -> list[tuple[bytes, ...]]:
    """Play the file, one record at a time: each takes back what its lane has from there on."""
    stands: list[Step] = []
    for new in steps:
        stands = [old for old in stands if old[0] != new[0] or old[1:3] < new[1:3]] + [new]
    records = np.zeros(len(stands), RECORD)
    for record, old in zip(records, sorted(stands, key=lambda old: old[:3]), strict=True):
        for name, value in zip(
            ("lane", "episode", "step", "reward", "observed"), old, strict=False
        ):
            record[name] = value
        record["ended"] = old[5]
    return bits(records)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger") / "truth.ledger"


def test_docstring_examples_run() -> None:
    assert doctest.testmod(ledger).failed == 0


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEP, max_size=30))
def test_records_are_read_as_written(path: Path, steps: list[Step]) -> None:
    path.unlink(missing_ok=True)
    write(path, steps)
    assert bits(read_ledger(path)) == by_hand(steps)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEP, max_size=12), more=st.lists(STEP, max_size=4), data=st.data())
def test_truncated_file_is_read_and_continued(
    path: Path, steps: list[Step], more: list[Step], data: st.DataObject
) -> None:
    path.unlink(missing_ok=True)
    write(path, steps)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    left = steps[: max(cut - len(HEADER), 0) // RECORD.itemsize]
    assert bits(read_ledger(path)) == by_hand(left)
    write(path, more)
    assert bits(read_ledger(path)) == by_hand(left + more)
    assert path.stat().st_size == len(HEADER) + RECORD.itemsize * len(left + more)


def test_every_flipped_bit_is_refused(path: Path) -> None:
    path.unlink(missing_ok=True)
    write(path, [(0, 0, 0, 1.0, 1, 0), (3, 2, 1, -0.5, 0, 1)])
    whole = path.read_bytes()
    for bit in range(8 * len(HEADER), 8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"record . of 2 does not match its check"):
            read_ledger(path)
    path.write_bytes(whole + bytes(RECORD.itemsize))
    with pytest.raises(ValueError, match="record 2 of 3"):
        LedgerWriter(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"lane,reward\n0,1\n", "is not a ledger"),
        (b"x", "is not a ledger"),
        (HEADER[:8] + b"\2" + HEADER[9:], "another version"),
    ],
)
def test_file_is_refused_and_unchanged_when_not_a_ledger(
    path: Path, content: bytes, message: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_ledger(path)
    with pytest.raises(ValueError, match=message):
        LedgerWriter(path)
    assert path.read_bytes() == content


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path / "truth.ledger")
    with pytest.raises(ValueError, match="already has a writer"):
        LedgerWriter(tmp_path / "truth.ledger")
    writer.close()
    writer.close()
    LedgerWriter(tmp_path / "truth.ledger").close()


def test_ends_of_episodes_are_flushed_and_the_buffer_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "truth.ledger"
    writer = LedgerWriter(path)
    writer.append(0, 0, 0, 1.0, observed=1, ended=0)
    assert len(read_ledger(path)) == 0
    writer.append(0, 0, 1, 1.0, observed=1, ended=1)
    assert len(read_ledger(path)) == 2
    for step in range(2 * ledger.BUFFERED - 1):
        writer.append(1, 0, step, 0.0, observed=0, ended=0)
    assert len(read_ledger(path)) == ledger.BUFFERED + 2
    writer.flush()
    assert len(read_ledger(path)) == 2 * ledger.BUFFERED + 1
    writer.close()


def test_a_writer_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "truth.ledger"
    write(path, [(0, 0, 0, 0.125, 1, 1)])
    writer = LedgerWriter(path)
    writer.append([0, 1], 1, 0, 0.375, observed=0, ended=1)
    descriptor = writer._file.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.read(descriptor, 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pread(descriptor, 8, 0)
    with pytest.raises((OSError, ValueError)):
        mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    for read in (writer._file.read, writer._file.readall, writer._file.readline):
        with pytest.raises(OSError, match=r"not open for reading|Bad file descriptor"):
            read()
    held = list(vars(writer).values())
    while held:  # all that it holds: no path, and no reward that was written
        each = held.pop()
        assert not isinstance(each, str | bytes | Path)
        assert not isinstance(each, float | np.ndarray)
        if isinstance(each, dict | list | tuple):
            held.extend(each.values() if isinstance(each, dict) else each)
    assert isinstance(writer._file.name, int)
    writer.close()
    assert read_ledger(path)["reward"].tolist() == [0.125, 0.375, 0.375]


def test_every_ended_episode_survives_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "truth.ledger"
    code = (
        "import itertools, sys; from envs.wrappers.ledger import LedgerWriter\n"
        "writer = LedgerWriter(sys.argv[1])\n"
        "for episode in itertools.count():\n"
        "    for step in range(3):\n"
        "        writer.append([0, 1], episode, step, [step, -step], observed=0, ended=step == 2)\n"
        "    print(episode, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process, process.stdout:
        for _ in range(500):
            said = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        said += len(process.stdout.readlines())
    assert process.returncode == -signal.SIGKILL
    LedgerWriter(path).close()  # the lock went with the process
    episodes = summarize_episodes(read_ledger(path))
    for lane, sign in ((0, 1), (1, -1)):
        mine = episodes[(episodes["lane"] == lane) & (episodes["ended"] != 0)]
        assert len(mine) > said
        np.testing.assert_array_equal(mine["episode"], np.arange(len(mine)))
        np.testing.assert_array_equal(mine["true_return"], 3.0 * sign)
        np.testing.assert_array_equal(mine["length"], 3)


def test_summaries_of_many_lanes_equal_a_loop(tmp_path: Path) -> None:
    lanes, generator = 64, np.random.default_rng(0)
    writer = LedgerWriter(tmp_path / "truth.ledger")
    episode, step = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
    expected: dict[tuple[int, int], list[tuple[float, int, int]]] = {}
    for _ in range(100):
        reward, observed = generator.normal(size=lanes), generator.integers(-1, 2, lanes)
        ended = generator.integers(0, 3, lanes) * (generator.random(lanes) < 0.1)
        writer.append(np.arange(lanes), episode, step, reward, observed=observed, ended=ended)
        for lane in range(lanes):
            row = (float(reward[lane]), int(observed[lane]), int(ended[lane]))
            expected.setdefault((lane, int(episode[lane])), []).append(row)
        step = np.where(ended > 0, 0, step + 1)
        episode += ended > 0
    writer.close()
    assert summarize_episodes(read_ledger(tmp_path / "truth.ledger")).tolist() == [
        (*key, sum(rewards), len(rewards), max(observed), max(ended))
        for key, rows in sorted(expected.items())
        for rewards, observed, ended in [tuple(zip(*rows, strict=True))]
    ]


def test_records_stay_whole_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A disk that takes ten bytes more."""

        def __init__(self, writer: LedgerWriter) -> None:
            self.file, self.left = writer._file, 10

        def write(self, data: memoryview) -> int:
            if not self.left:
                raise OSError("no space left")
            count, self.left = self.left, 0
            return self.file.write(data[:count])

        def truncate(self, size: int) -> int:
            return self.file.truncate(size)

    writer = LedgerWriter(tmp_path / "truth.ledger")
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_file", Full(writer))
        with pytest.raises(OSError, match="no space"):
            writer.append([0, 1], 0, 0, 1.0, observed=0, ended=1)
    assert len(read_ledger(tmp_path / "truth.ledger")) == 0
    writer.close()
    assert len(read_ledger(tmp_path / "truth.ledger")) == 2
