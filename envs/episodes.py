"""summarize_episodes: what a ledger's steps add up to, episode by episode."""

import numpy as np

from envs.ledger import Records

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
    """Return one `EPISODE` for each episode in what `read_ledger` returned.

    `true_return` is the sum of the rewards in the order of the steps; `observed` is 1 if any step
    was, else 0, else -1 if the environment said nothing; `ended` is 0 for an unfinished episode.
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
