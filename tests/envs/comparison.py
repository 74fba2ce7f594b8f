"""assert_same: what two environments returned is equal to the bit, the key and the dtype."""

import numpy as np


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
            assert_same(np.stack(ours["final_obs"][ended]), np.stack(theirs["final_obs"][ended]))
    else:
        assert isinstance(ours, np.ndarray)
        assert isinstance(theirs, np.ndarray)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
