"""The ledger: a file of every step's true reward, read by evaluation and never by a learner.

- The file has a header of 16 bytes (magic, version, record size), then records of 24 bytes, all
  little-endian.
- Only whole records count: a truncated file is read up to the last one.
- Every record has a checksum of 16 bits, so that damage is an error and not a number.
- A resumed run repeats the steps after its checkpoint. In each lane, a record at an episode and
  step replaces all that the lane had recorded from that step on.
"""

import os
import struct
import sys
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

if sys.platform != "win32":
    import fcntl

Records = NDArray[np.void]

RECORD = np.dtype(
    [
        ("lane", "<u4"),
        ("episode", "<u4"),  # counts the resets of the lane
        ("step", "<u4"),  # from 0
        ("observed", "<i1"),  # from the environment's info: 1 yes, 0 no, -1 not stated
        ("ended", "<u1"),  # 0 not, 1 terminated, 2 truncated, 3 both
        ("check", "<u2"),
        ("reward", "<f8"),
    ]
)
HEADER = struct.pack("<8sII", b"OVLEDGER", 1, RECORD.itemsize)
BUFFERED = 4096  # records buffered at most, which a killed process can lose


class LedgerWriter:
    """Appends true rewards to a ledger; an existing one is continued after its last whole record.

    Records are handed to the operating system at every end of an episode, when `BUFFERED` of them
    wait, and by `flush` and `close`; then they survive the death of the process. `close` also waits
    for the disk. A second writer of the same file is refused while the first is open.

    A writer reads the file once, when it opens it. After that it cannot: its descriptor is for
    writing only, it does not keep the path, and it holds only the rewards that are not written yet.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "truth.ledger"
        >>> writer = LedgerWriter(path)
        >>> writer.append([0, 1], 0, 0, [1.0, -1.0], observed=[1, 0], ended=1)
        >>> writer.close()
        >>> read_ledger(path)["reward"]
        array([ 1., -1.])

    Args:
        path: The file, which is created if it does not exist; its folder must exist.

    Raises:
        ValueError: If the file is not a ledger, is damaged, or already has a writer.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # For writing only and without the path, so that no holder of the writer can read the file.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags, 0o666)
        # Unbuffered, so that a forked child or a dying interpreter never writes a copy.
        self._file = open(descriptor, "ab", buffering=0)  # noqa: SIM115 (closed by `close`)
        try:
            _lock(descriptor, Path(path))
            records = _load(Path(path))
            self._size = len(HEADER) + records.nbytes
            if os.path.getsize(path) < len(HEADER):
                self._file.truncate(0)
                self._file.write(HEADER)
            self._file.truncate(self._size)
        except BaseException:
            self._file.close()
            raise
        self._last = _last_episodes(records)
        self._steps: list[tuple[int, int, int, int, int, int, float]] = []
        self._pending: list[Records] = []
        self._num_pending = 0

    def next_episodes(self, num_lanes: int) -> NDArray[np.int64]:
        """Return, for lanes 0 to n - 1, the first episode number that is not in the file."""
        return np.array([self._last.get(lane, -1) + 1 for lane in range(num_lanes)], np.int64)

    def append(
        self,
        lane: ArrayLike,
        episode: ArrayLike,
        step: ArrayLike,
        reward: ArrayLike,
        *,
        observed: ArrayLike,
        ended: ArrayLike,
    ) -> None:
        """Record one step of some lanes; arguments are [n] or scalars, as in `RECORD`."""
        records = np.zeros(np.shape(lane) or (1,), RECORD)
        records["lane"] = lane
        records["episode"] = episode
        records["step"] = step
        records["observed"] = observed
        records["ended"] = ended
        records["reward"] = reward
        self._buffer_steps()
        self._buffer(records)
        if self._num_pending >= BUFFERED or records["ended"].any():
            self.flush()

    def append_step(
        self, lane: int, episode: int, step: int, reward: float, *, observed: int, ended: int
    ) -> None:
        """Record one step of one lane: `append`, without the cost of arrays."""
        self._steps.append((lane, episode, step, observed, ended, 0, reward))
        if ended or len(self._steps) >= BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Hand all records to the operating system; after an error none is partly written."""
        self._buffer_steps()
        if not self._pending:
            return
        data = memoryview(b"".join(records.data for records in self._pending))
        try:
            written = 0
            while written < len(data):
                written += self._file.write(data[written:])
        except BaseException:  # Ctrl-C too
            self._file.truncate(self._size)
            raise
        self._size += len(data)
        self._pending.clear()
        self._num_pending = 0

    def _buffer_steps(self) -> None:
        if self._steps:
            self._buffer(np.array(self._steps, RECORD))
            self._steps.clear()

    def _buffer(self, records: Records) -> None:
        """Add the checksums, and keep the records until the next flush."""
        records["check"] = _checksum(records)
        self._pending.append(records)
        self._num_pending += len(records)

    def close(self) -> None:
        """Flush, wait for the disk, and close the file; closing twice is harmless."""
        if not self._file.closed:
            self.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def read_ledger(path: str | os.PathLike[str]) -> Records:
    """Return one `RECORD` for each step, sorted by lane, episode and step.

    Reading does not disturb a running writer. Records that a resumed run replaced are left out.

    Raises:
        ValueError: If the file is not a ledger, or a whole record in it is damaged.
    """
    records = _load(Path(path))
    order = np.lexsort((records["step"], records["episode"], records["lane"]))
    ranked = records[order]
    fresh = np.ones(len(ranked), dtype=np.bool_)
    for name in ("lane", "episode", "step"):
        differs = ranked[name][1:] != ranked[name][:-1]
        fresh[1:] = differs if name == "lane" else fresh[1:] | differs
    rank = np.empty(len(ranked), dtype=np.int64)
    rank[order] = np.cumsum(fresh)
    # By lane and then as written: a record stands if no later one is at or before its step.
    written = np.argsort(records["lane"], kind="stable")
    least = np.minimum.accumulate(rank[written][::-1])[::-1]
    stands = np.ones(len(ranked), dtype=np.bool_)
    stands[:-1] = rank[written][:-1] < least[1:]
    return records[written[stands]]


def _load(path: Path) -> Records:
    """Return all whole records as written."""
    with open(path, "rb") as file:
        header = file.read(len(HEADER))
        data = file.read() if header == HEADER else b""
    if not HEADER.startswith(header):
        hint = "a ledger of another version" if header[:8] == HEADER[:8] else "not a ledger"
        raise ValueError(
            f"{path} is {hint}: it starts with {header!r}, a ledger of this version with "
            f"{HEADER!r}; give the path of a ledger, or of a file that does not exist yet"
        )
    records = np.frombuffer(data, RECORD, count=len(data) // RECORD.itemsize)
    broken = np.flatnonzero(records["check"] != _checksum(records))
    if broken.size:
        raise ValueError(
            f"{path} is damaged: record {broken[0]} of {len(records)} does not match its checksum, "
            "which a killed process cannot cause; restore the file, or start a new one"
        )
    return records


def _checksum(records: Records) -> NDArray[np.uint16]:
    """Mix all other bits of each record into 16 bits, which are not 0 for a record of zeros."""
    words = records.view("<u8").reshape(-1, 3)
    mixed = words[:, 1] & np.uint64(2**48 - 1)
    mixed += words[:, 0] * np.uint64(0x9E3779B97F4A7C15)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed += words[:, 2]
    mixed += np.uint64(0x5851F42D4C957F2D)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed >>= np.uint64(48)
    return mixed.astype(np.uint16)


def _last_episodes(records: Records) -> dict[int, int]:
    order = np.lexsort((records["episode"], records["lane"]))
    return dict(
        zip(records["lane"][order].tolist(), records["episode"][order].tolist(), strict=True)
    )


def _lock(descriptor: int, path: Path) -> None:
    """Refuse a second writer; the lock ends with the process that holds it."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{path} already has a writer: give every environment a path of its own, or "
                "close the first one"
            ) from None


EPISODE = np.dtype(
    [
        ("lane", "<u4"),
        ("episode", "<u4"),
        ("true_return", "<f8"),
        ("length", "<u4"),
        ("observed", "<i1"),
        ("ended", "<u1"),
    ]
)


def summarize_episodes(records: Records) -> Records:
    """Return one `EPISODE` for each episode in the records that `read_ledger` returned.

    `true_return` is the sum of the rewards in the order of the steps; `observed` is 1 if any step
    was observed, -1 if the environment did not say, else 0; `ended` is 0 for unfinished episodes.
    """
    first = np.ones(len(records), dtype=np.bool_)
    first[1:] = (records["lane"][1:] != records["lane"][:-1]) | (
        records["episode"][1:] != records["episode"][:-1]
    )
    starts = np.flatnonzero(first)
    episodes = np.zeros(len(starts), EPISODE)
    if len(starts):
        number = np.cumsum(first) - 1
        episodes["lane"] = records["lane"][starts]
        episodes["episode"] = records["episode"][starts]
        # bincount adds one after the other, so the sum is that of a loop, to the bit.
        episodes["true_return"] = np.bincount(number, weights=records["reward"])
        episodes["length"] = np.bincount(number)
        episodes["observed"] = np.maximum.reduceat(records["observed"], starts)
        episodes["ended"] = np.maximum.reduceat(records["ended"], starts)
    return episodes
