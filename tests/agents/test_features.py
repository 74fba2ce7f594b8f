"""Features: which extractor a space gets, what gates let through to it, and what is masked."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor

from agents import METHODS, MotivationPolicy
from agents.features import BoardCNN, CombinedFeatures, default_features
from oversight.routing import RouteTable, routing
from tests.agents.sampled import ACTIONS, IMAGE, OBSERVATIONS

VIEW = spaces.Box(0, 255, (3, 7, 7), np.uint8)
LARGE_VIEW = spaces.Box(0, 1, (4, 40, 40), np.float32)
PARTS: Any = OBSERVATIONS["dict"]
BOARD = spaces.MultiBinary((5, 9, 9))
BATCH = 5


def policy_on(space: spaces.Space[Any], **settings: Any) -> MotivationPolicy:  # noqa: ANN401
    torch.manual_seed(0)
    actions = ACTIONS["discrete"]
    return MotivationPolicy(space, actions, lambda _: 1e-3, hidden_sizes=(8,), **settings)


def batch(space: spaces.Space[Any]) -> Any:  # noqa: ANN401
    """Return observations of a space as tensors."""
    space.seed(0)
    drawn = [space.sample() for _ in range(BATCH)]
    if isinstance(space, spaces.Dict):
        return {key: torch.from_numpy(np.stack([each[key] for each in drawn])) for key in space}
    return torch.from_numpy(np.stack(drawn))


@pytest.mark.parametrize(
    ("space", "settings", "expected"),
    [
        (IMAGE, {}, NatureCNN),
        (VIEW, {}, FlattenExtractor),
        (IMAGE, {"masked_channels": (2,)}, FlattenExtractor),
        (LARGE_VIEW, {}, FlattenExtractor),
        (LARGE_VIEW, {"normalize_images": False}, NatureCNN),
        (PARTS, {}, CombinedFeatures),
        (BOARD, {}, FlattenExtractor),
        (BOARD, {"conv_channels": (4, 2)}, BoardCNN),
        (VIEW, {"conv_channels": [4]}, BoardCNN),
        (IMAGE, {"features_extractor_class": FlattenExtractor}, FlattenExtractor),
    ],
)
def test_extractor_follows_from_the_space(
    space: spaces.Space[Any], settings: dict[str, Any], expected: type
) -> None:
    policy = policy_on(space, **settings)
    assert type(policy.features_extractor) is expected
    with torch.no_grad():
        actions, values, _ = policy(batch(space))
    assert (actions.shape, values.shape) == ((BATCH,), (BATCH, 1))
    assert type(policy.alone("goal").features_extractor) is expected


def test_features_of_dictionaries_are_those_of_sb3() -> None:
    outputs = []
    for kind in (CombinedExtractor, CombinedFeatures):
        torch.manual_seed(0)
        extractor = kind(PARTS, cnn_output_dim=8)
        outputs.append(extractor(preprocess_obs(batch(PARTS), PARTS)))
    assert torch.equal(*outputs)


def test_small_images_of_a_dictionary_are_flattened() -> None:
    space = spaces.Dict({"image": VIEW, "direction": spaces.Discrete(4)})
    assert default_features(space) is CombinedFeatures
    policy, seen = policy_on(space), batch(space)
    features = policy.extract_features(seen)
    assert features.shape == (BATCH, VIEW.shape[0] * 49 + 4)
    pixels = features[:, 4:].reshape(BATCH, 3, 7, 7)  # keys come in their order
    assert torch.equal(pixels, seen["image"] / 255)


def extractor_gradient(policy: MotivationPolicy, row: dict[str, float]) -> Tensor:
    """Return the gradient of the extractor's parameters, where all samples take one route."""
    policy.zero_grad()
    actions = torch.arange(BATCH) % 3
    with routing(policy, RouteTable({"any": row}), torch.zeros(BATCH, dtype=torch.int64)):
        values, log_prob, _ = policy.evaluate_actions(batch(IMAGE), actions)
        (values.sum() + log_prob.sum()).backward()  # type: ignore[no-untyped-call]
    parameters = policy.features_extractor.parameters()
    return torch.cat([torch.zeros(0) if p.grad is None else p.grad.flatten() for p in parameters])


def test_extractor_learns_from_what_passes_the_gates() -> None:
    policy = policy_on(IMAGE)
    names = ("goal", "proxy", "mixture")

    def gradient(*passing: str) -> Tensor:
        return extractor_gradient(
            policy, {name: float(name in passing) for name in (*names, "shared")}
        )

    assert not gradient(*names).any()  # `shared` is above all other parts
    critic = gradient("shared")
    each = [gradient(name, "shared") - critic for name in names]
    assert all(one.any() for one in each)
    torch.testing.assert_close(sum(each) + critic, gradient(*names, "shared"))


def test_filtered_episodes_teach_an_extractor_nothing() -> None:
    policy = policy_on(IMAGE, modules=("motivation",))
    hidden = METHODS["filtered"].table.as_dict()["hidden"]
    assert not extractor_gradient(policy, hidden).any()


def test_modules_do_not_see_masked_keys() -> None:
    policy, seen = policy_on(PARTS, masked_channels=("image", "on")), batch(PARTS)
    masked = policy.net.masked
    assert masked is not None
    other = {**seen, "image": 255 - seen["image"], "on": 1 - seen["on"]}
    with torch.no_grad():
        one, two = (policy.extract_features(each) for each in (seen, other))
        shown = [policy.net.experts["goal"](each.masked_fill(masked, 0.0)) for each in (one, two)]
        assert torch.equal(*shown)
        assert not torch.equal(*(policy.predict_values(each) for each in (seen, other)))
    assert int(masked.sum()) == 256 + 2


@pytest.mark.parametrize(
    ("space", "masked", "message"),
    [
        (PARTS, ("flag",), "must be keys of a Dict observation, here of .*'image'"),
        (PARTS, (1,), "must be keys of a Dict observation"),
        (VIEW, ("image",), "must be channels along the first axis"),
        (VIEW, (3,), "must be channels along the first axis"),
    ],
)
def test_parts_that_do_not_exist_are_not_masked(
    space: spaces.Space[Any], masked: tuple[int | str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        policy_on(space, masked_channels=masked)


def test_reward_map_of_a_dictionary_has_no_channels() -> None:
    for settings in ({"agent_channel": 0}, {"masked_channels": ("on",)}):
        with pytest.raises(ValueError, match="only where observations are arrays"):
            policy_on(PARTS, modules=("competence",), has_reward_map=True, **settings)


def shifted(planes: Tensor) -> Tensor:
    """Return planes with everything one column further to the right."""
    return torch.roll(planes, 1, -1)


def test_features_of_a_board_move_with_what_is_on_it() -> None:
    torch.manual_seed(0)
    extractor, board = BoardCNN(BOARD, (4, 3)), torch.zeros(1, 5, 9, 9)
    board[0, 2, 4, 3] = 1
    with torch.no_grad():
        here, there = (extractor(each).reshape(3, 9, 9) for each in (board, shifted(board)))
    assert extractor.features_dim == 3 * 81
    inside = slice(2, -2)  # which no zero of the padding reaches
    torch.testing.assert_close(shifted(here)[:, inside, inside], there[:, inside, inside])
    assert not torch.equal(here, there)


def test_features_of_a_board_are_sums_over_neighbors() -> None:
    extractor, board = BoardCNN(BOARD, (1,)), batch(BOARD).float()
    with torch.no_grad():
        for parameter in extractor.parameters():
            parameter.fill_(1.0)
        features = extractor(board).reshape(BATCH, 9, 9)
    assert features[0, 0, 0] == board[0, :, :2, :2].sum() + 1
    assert features[1, 4, 5] == board[1, :, 3:6, 4:7].sum() + 1


@pytest.mark.parametrize("agent_channel", [None, 2])
def test_convolutions_read_what_a_policy_sees_of_a_reward_map(agent_channel: int | None) -> None:
    settings = {"modules": ("competence",), "has_reward_map": True, "agent_channel": agent_channel}
    plain, policy = (policy_on(BOARD, conv_channels=each, **settings) for each in ((), (4, 2)))
    planes = 5 if agent_channel is None else 2
    assert (plain.features_dim, policy.features_dim) == (planes * 81, 2 * 81)
    board = BoardCNN(spaces.MultiBinary((planes, 9, 9)), (4, 2))
    board.layers.load_state_dict(policy.features_extractor.layers.state_dict())  # type: ignore[union-attr]
    plain.reward_map.load_state_dict(policy.reward_map.state_dict())  # type: ignore[union-attr]
    seen = plain.extract_features(batch(BOARD)).reshape(BATCH, planes, 9, 9)
    assert torch.equal(policy.extract_features(batch(BOARD)), board(seen))
    shared = policy.optimizer.param_groups[-1]["params"]
    assert {*policy.features_extractor.layers.parameters()} <= {*shared}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("space", "settings", "message"),
    [
        (PARTS, {}, "conv_channels need observations that are stacks of planes"),
        (spaces.Box(0, 1, (9, 9)), {}, "arrays of shape .channels, height, width., got Box"),
        (IMAGE, {}, "conv_channels are for boards too small for SB3's NatureCNN"),
        (BOARD, {"masked_channels": (1,)}, "a convolution mixes all channels: leave one"),
        (BOARD, {"conv_channels": (0,)}, "conv_channels must be positive widths .* got .0,."),
        (BOARD, {"features_extractor_class": FlattenExtractor}, "give one of them"),
        (
            BOARD,
            {"centered": True},
            "has no effect on centered boards, which score maps read as well",
        ),
        (
            BOARD,
            {"modules": ("competence",), "score_maps": ("goal", "proxy")},
            "has no effect on centered boards, which score maps read as well",
        ),
    ],
)
def test_convolutions_are_refused_where_they_do_not_apply(
    space: spaces.Space[Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        policy_on(space, **{"conv_channels": (4,), **settings})


def test_module_alone_keeps_the_convolutions() -> None:
    policy = policy_on(BOARD, conv_channels=(4, 2))
    goal = policy.alone("goal")
    assert goal.conv_channels == (4, 2)
    seen = batch(BOARD)
    assert torch.equal(goal.extract_features(seen), policy.extract_features(seen))
