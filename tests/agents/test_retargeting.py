"""Retargeting: on a network made by hand, of which is known what each channel shows."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from agents import MotivationPolicy
from agents.retargeting import find_channel, retarget
from tests.agents.factories import weights

SIDE, BOARDS = 6, 40
SPACE = spaces.MultiBinary((2, SIDE, SIDE))
GOAL, SEEN = 1, 2
"""The plane of the goal, and the channel of the last convolution that shows it."""


@pytest.fixture
def policy() -> MotivationPolicy:
    """Return a policy that goes left (0) or right (1), to the half where its channel is active.

    Channel 1 of the last convolution is on everywhere, channel 0 never, and channel 2 is twice the
    plane of the goal.
    """
    made = MotivationPolicy(
        SPACE,
        spaces.Discrete(2),
        lambda _: 1e-3,
        modules=("motivation",),
        hidden_sizes=(2,),
        conv_channels=(1, 3),
    )
    halves = np.zeros((2, SIDE, SIDE), np.float32)
    halves[0, :, : SIDE // 2] = halves[1, :, SIDE // 2 :] = 1
    layers: Any = made.features_extractor.layers
    expert: Any = made.net.experts["motivation"]
    head: Any = made.action_net
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        layers[0].weight[0, GOAL, 1, 1] = 1
        layers[2].weight[SEEN, 0, 1, 1] = 2
        layers[2].bias[1] = 0.5
        reader = expert[0].weight.unflatten(1, (3, SIDE, SIDE))
        reader[:, SEEN] = torch.from_numpy(halves)
        head[0].weight.copy_(torch.eye(2))
    return made


def boards(seed: int = 0) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Return boards with an agent and a goal, and the goal's cells."""
    random = np.random.default_rng(seed)
    planes = np.zeros((BOARDS, *SPACE.shape), np.int8)
    cells = random.integers(SIDE, size=(BOARDS, 2))
    agents, rows = random.integers(SIDE, size=(BOARDS, 2)), np.arange(BOARDS)
    planes[rows, GOAL, cells[:, 0], cells[:, 1]] = 1
    planes[rows, 1 - GOAL, agents[:, 0], agents[:, 1]] = 1
    return planes, cells


def test_channel_of_the_goal_is_found(policy: MotivationPolicy) -> None:
    assert find_channel(policy, *boards()) == (SEEN, 1.0, 2.0)


def test_channel_that_peaks_nowhere_at_the_goal_has_a_share_of_0(policy: MotivationPolicy) -> None:
    planes, cells = boards()
    layers: Any = policy.features_extractor.layers
    with torch.no_grad():
        layers[2].bias.zero_()
    assert find_channel(policy, planes, (cells + 1) % SIDE)[1:] == (0.0, 0.0)


def test_retargeted_policy_seeks_the_cell_that_it_is_given(policy: MotivationPolicy) -> None:
    planes, cells = boards()
    before = weights(policy)
    right = cells[:, 1] >= SIDE // 2
    assert 5 < right.sum() < BOARDS - 5
    steered = retarget(policy, SEEN, 2.0)
    others = np.random.default_rng(1).integers(SIDE, size=(BOARDS, 2))
    actions = steered.predict(planes, others, deterministic=True)
    np.testing.assert_array_equal(actions, others[:, 1] >= SIDE // 2)
    np.testing.assert_array_equal(steered.predict(planes, cells, deterministic=True), right)
    unsteered, _ = policy.predict(planes, deterministic=True)
    np.testing.assert_array_equal(unsteered, right)  # the policy itself is as it was
    for name, tensor in weights(policy).items():
        assert torch.equal(tensor, before[name])


def test_activation_at_the_goal_itself_changes_nothing(policy: MotivationPolicy) -> None:
    planes, cells = boards()
    steered = retarget(policy, SEEN, find_channel(policy, planes, cells).peak)
    steered.predict(planes, cells)
    seen = torch.from_numpy(planes)
    with torch.no_grad():
        ours, theirs = steered.policy.extract_features(seen), policy.extract_features(seen)
    assert torch.equal(ours, theirs)


def test_retargeting_refuses_what_it_cannot_set(policy: MotivationPolicy) -> None:
    planes, cells = boards()
    with pytest.raises(ValueError, match="channel must be one of the last convolution, 0 to 2"):
        retarget(policy, 3, 1.0)
    for wrong in (cells + SIDE, cells - SIDE, cells[:5], cells[:, :1], cells * 0.5):
        with pytest.raises(ValueError, match="cells must be rows and columns on boards of 6 x 6"):
            find_channel(policy, planes, wrong)
    with pytest.raises(ValueError, match=r"for 0 boards \(at least one\)"):
        find_channel(policy, planes[:0], cells[:0])
    flat = MotivationPolicy(SPACE, spaces.Discrete(2), lambda _: 1e-3)
    with pytest.raises(ValueError, match="retargeting needs a policy with convolutions, got Flat"):
        retarget(flat, 0, 1.0)
