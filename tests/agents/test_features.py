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
from agents.features import CombinedFeatures, default_features
from oversight.routing import RouteTable, routing
from tests.agents.sampled import ACTIONS, IMAGE, OBSERVATIONS

VIEW = spaces.Box(0, 255, (3, 7, 7), np.uint8)
LARGE_VIEW = spaces.Box(0, 1, (4, 40, 40), np.float32)
PARTS: Any = OBSERVATIONS["dict"]
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
