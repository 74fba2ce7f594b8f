"""A run learns by its routes, resumes to the same bits, and refuses what is not its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from configs.split import PRESETS
from oversight.representations.config import Method, RunConfig
from oversight.representations.data import load
from oversight.representations.evaluation import evaluate, summarize
from oversight.representations.training import (
    CHECKPOINT,
    MODEL,
    RESULT,
    Training,
    load_network,
    read_result,
    require_batch,
    run_identity,
    train,
)
from oversight.runs.cli import override
from tests.oversight.representations.tiny_runs import TINY, tiny_images, tiny_run

IMAGES = tiny_images()
TIMES = ("seconds", "commit")


class KilledError(Exception):
    """Stands for the kill of a process."""


def run(
    config: RunConfig, folder: Path, method: Method = "routed", seed: int = 0
) -> dict[str, Any]:
    """Train in a folder, and return the result without what depends on the clock."""
    folder.mkdir(exist_ok=True)
    result = train(config, method, seed, IMAGES, folder)
    return {name: value for name, value in result.items() if name not in TIMES}


def kill_after(steps: int, config: RunConfig, folder: Path) -> None:
    """Train until a kill after a number of steps."""

    def progress(stage: str, share: float) -> None:
        if share >= steps / (config.steps + config.certificate_steps):
            raise KilledError

    folder.mkdir()
    with pytest.raises(KilledError):
        train(config, "routed", 0, IMAGES, folder, progress)


@pytest.mark.parametrize("killed_after", [3, 7, 11, 14])
@pytest.mark.parametrize("task", ["reconstruct", "classify"])
def test_killed_run_resumes_to_the_same_bits(tmp_path: Path, killed_after: int, task: str) -> None:
    config = tiny_run(task=task, certificate_steps=4)
    expected = run(config, tmp_path / "whole")
    kill_after(killed_after, config, tmp_path / "killed")
    assert (tmp_path / "killed" / CHECKPOINT).exists() == (killed_after > config.checkpoint_every)
    # as JSON, where a ratio of accuracies of 0 equals itself
    assert json.dumps(run(config, tmp_path / "killed")) == json.dumps(expected)
    assert (tmp_path / "killed" / MODEL).read_bytes() == (tmp_path / "whole" / MODEL).read_bytes()
    assert not (tmp_path / "killed" / CHECKPOINT).exists()


def test_result_of_another_seed_or_method_differs(tmp_path: Path) -> None:
    results = [
        run(TINY, tmp_path / "a"),
        run(TINY, tmp_path / "b", seed=1),
        run(TINY, tmp_path / "c", "unrouted"),
        run(TINY, tmp_path / "d", "shuffled"),
    ]
    assert len({json.dumps(each["decoders"]) for each in results}) == 4


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    kill_after(7, TINY, tmp_path / "run")
    with pytest.raises(ValueError, match="other settings or data"):
        run(tiny_run(learning_rate=1e-4), tmp_path / "run")


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be resumed"):
        run(TINY, tmp_path)


def test_result_is_read_only_for_its_own_run(tmp_path: Path) -> None:
    identity = run_identity(TINY, "routed", 0, IMAGES)
    assert read_result(tmp_path, identity) is None
    run(TINY, tmp_path)
    found = read_result(tmp_path, identity)
    assert found is not None
    assert found["source"] == "tiny images"
    with pytest.raises(ValueError, match="other settings or data"):
        read_result(tmp_path, run_identity(TINY, "routed", 1, IMAGES))
    assert (tmp_path / RESULT).exists()


def test_identity_does_not_depend_on_where_a_run_is_executed() -> None:
    moved = tiny_run(device="cuda", data_dir=Path("elsewhere"), checkpoint_every=9)
    expected = run_identity(TINY, "routed", 0, IMAGES)
    assert run_identity(moved, "routed", 0, IMAGES) == expected


def test_loaded_network_is_the_trained_one(tmp_path: Path) -> None:
    training = Training(TINY, "routed", 0, IMAGES)
    for _ in range(TINY.steps):
        training.advance()
    run(TINY, tmp_path)
    loaded = load_network(tmp_path, TINY, IMAGES.shape)
    for name, tensor in training.network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def last_layer_gradient(config: RunConfig, method: Method) -> torch.Tensor:
    """Return the gradient of the encoder's last layer after a batch of the first group."""
    training = Training(config, method, 0, IMAGES)
    training.labels[:] = 0
    training.advance()
    grad = training.network.encoder[-1].weight.grad  # type: ignore[index]
    assert isinstance(grad, torch.Tensor)
    return grad


def test_wrong_part_of_the_encoder_gets_exactly_no_gradient_of_the_reconstruction() -> None:
    grad = last_layer_gradient(tiny_run(l1=(0.0,), correlation=0.0), "routed")
    assert (grad[:3] != 0).any()
    assert (grad[3:] == 0).all()


def test_penalties_are_not_routed() -> None:
    for changes in ({"l1": (1e-3,), "correlation": 0.0}, {"l1": (0.0,), "correlation": 0.1}):
        assert (last_layer_gradient(tiny_run(**changes), "routed")[3:] != 0).any()


def test_unrouted_reconstruction_teaches_both_parts() -> None:
    grad = last_layer_gradient(tiny_run(l1=(0.0,), correlation=0.0), "unrouted")
    assert (grad[3:] != 0).any()


def test_last_steps_train_certificates_alone(tmp_path: Path) -> None:
    short, long = TINY, tiny_run(certificate_steps=5)
    run(short, tmp_path / "short")
    run(long, tmp_path / "long")
    before = load_network(tmp_path / "short", short, IMAGES.shape).state_dict()
    after = load_network(tmp_path / "long", long, IMAGES.shape).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("certificates")}


def test_groups_that_are_not_trained_on_do_not_move_encoder_and_decoder() -> None:
    training = Training(tiny_run(trained_groups=(1,)), "unrouted", 0, IMAGES)
    training.labels[:] = 0
    before = {name: each.clone() for name, each in training.network.state_dict().items()}
    training.advance()
    changed = {
        name
        for name, each in training.network.state_dict().items()
        if not torch.equal(each, before[name])
    }
    assert {name.partition(".")[0] for name in changed} == {"certificates"}


def test_epoch_uses_each_image_once() -> None:
    training = Training(tiny_run(batch_size=12), "routed", 0, IMAGES)
    seen = []
    for _ in range(5):
        seen.append(training._next_batch().images)
        training.step += 1
    order = [(IMAGES.train == image).all(-1).nonzero().item() for image in torch.cat(seen)]
    assert sorted(order) == list(range(60))


def test_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="60 training images"):
        require_batch(tiny_run(batch_size=61), IMAGES)


def test_divergence_is_an_error(tmp_path: Path) -> None:
    images = tiny_images()
    images.train[:] = float("nan")
    with pytest.raises(ValueError, match="diverged"):
        train(TINY, "routed", 0, images, tmp_path)


def test_routing_splits_patterns_that_it_is_told_apart(tmp_path: Path) -> None:
    config = tiny_run(hidden_sizes=(32,), steps=250, eval_every=250, learning_rate=1e-2)
    ratios = {
        method: run(config, tmp_path / method, method)["summary"]["ratio"]["least"]
        for method in ("routed", "shuffled")
    }
    assert ratios["routed"] > 2 * ratios["shuffled"]


def test_routed_classifier_splits_the_digits() -> None:
    config = override(RunConfig(), PRESETS["classify"][1])
    images = load("digits", None)
    training = Training(config, "routed", 0, images)
    for _ in range(200):
        training.advance()
    found = summarize(evaluate(training.network, images, config), config)
    assert found["full"] > 0.8
    assert found["right"] > 0.8
    assert found["wrong"] < 0.5
