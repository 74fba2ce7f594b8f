"""assert_same: what two environments returned is equal to the bit, the key and the dtype."""

import numpy as np


def as_arrays(observation: object) -> object:
    """Return a single observation with arrays in place of numbers."""
    if isinstance(observation, dict):
        return {key: as_arrays(part) for key, part in observation.items()}
    if isinstance(observation, tuple):
        return tuple(map(as_arrays, observation))
    return np.asarray(observation)


def assert_same(ours: object, theirs: object) -> None:
    """Compare arrays, and tuples and dictionaries of them."""
    assert type(ours) is type(theirs)
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in ours.keys() - {"final_obs"}:
            assert_same(ours[key], theirs[key])
        if "final_obs" in ours:  # one array natively, an array of objects in SyncVectorEnv
            ended = ours["_final_obs"]
            for one, other in zip(
                ours["final_obs"][ended], theirs["final_obs"][ended], strict=True
            ):
                assert_same(*map(as_arrays, (one, other)))
    else:
        assert isinstance(ours, np.ndarray)
        assert isinstance(theirs, np.ndarray)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
