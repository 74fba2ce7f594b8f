"""Measures equal slow loops over classes and images."""

import math

import pytest
import torch

from oversight.representations.config import RunConfig, Task
from oversight.representations.evaluation import (
    MEAN_IMAGE,
    MEDIAN_IMAGE,
    by_group,
    decode_all,
    evaluate,
    summarize,
    uninformed,
    wrong_and_right,
)
from oversight.representations.networks import build_network
from tests.oversight.representations.tiny_runs import tiny_images, tiny_run

IMAGES = tiny_images(each=3)


def test_error_of_a_group_is_the_mean_over_its_classes_of_their_means() -> None:
    config = tiny_run()
    network = build_network(config, IMAGES.shape)
    found = evaluate(network, IMAGES, config)
    with torch.no_grad():
        outputs = decode_all(network, IMAGES.test, IMAGES.test_classes, config)
    for name, values in outputs.items():
        for group, members in zip(config.group_names, config.groups, strict=True):
            means = []
            for digit in members:
                rows = IMAGES.test_classes == digit
                squares = (values[rows] - IMAGES.test[rows]) ** 2
                means.append(sum(squares.flatten().tolist()) / squares.numel())
            assert found[name]["mse"][group] == pytest.approx(sum(means) / len(means), rel=1e-5)
        everything = found[name]["mae"]
        assert everything["all"] == pytest.approx(sum(everything["by_class"]) / 10, rel=1e-5)


def test_classes_of_unequal_size_have_equal_weight() -> None:
    classes = torch.cat([torch.arange(10), torch.zeros(90, dtype=torch.int64)])
    measured = torch.stack([(classes == 0).float(), torch.zeros(100)], -1)
    assert by_group(measured, classes, RunConfig())["mse"]["0-4"] == pytest.approx(0.2)


def test_accuracy_is_the_share_of_right_classes() -> None:
    config = tiny_run(task="classify")
    network = build_network(config, IMAGES.shape)
    found = evaluate(network, IMAGES, config)
    with torch.no_grad():
        outputs = decode_all(network, IMAGES.test, IMAGES.test_classes, config)["full"]
    right = (outputs.argmax(-1) == IMAGES.test_classes).float().mean()
    assert found["full"]["accuracy"]["all"] == pytest.approx(float(right))


def test_uninformed_images_are_the_best_constants_of_the_training_images() -> None:
    found = uninformed(IMAGES, tiny_run())
    mean, median = IMAGES.train.mean(0), IMAGES.train.median(0).values
    squares = ((IMAGES.test - mean) ** 2).mean()
    assert found[MEAN_IMAGE]["mse"]["all"] == pytest.approx(float(squares), rel=1e-5)
    absolute = (IMAGES.test - median).abs().mean()
    assert found[MEDIAN_IMAGE]["mae"]["all"] == pytest.approx(float(absolute), rel=1e-5)
    assert uninformed(IMAGES, tiny_run(task="classify")) == {}


@pytest.mark.parametrize(("task", "least"), [("reconstruct", 2.0), ("classify", 4.0)])
def test_summary_names_the_ratio_of_the_group_that_is_split_least(task: Task, least: float) -> None:
    name = "mse" if task == "reconstruct" else "accuracy"
    decoders = {
        "full": {name: {"all": 0.5}},
        "certificate 0-4": {name: {"0-4": 0.1, "5-9": 0.8}},
        "certificate 5-9": {name: {"0-4": 0.2, "5-9": 0.2}},
    }
    found = summarize(decoders, tiny_run(task=task))
    assert found["ratio"] == pytest.approx({"0-4": 2.0, "5-9": 4.0, "least": least})
    assert found["wrong"] == pytest.approx(0.5)
    assert found["right"] == pytest.approx(0.15)
    assert found["full"] == 0.5


def test_wrong_certificates_are_averaged() -> None:
    groups = ("0-1", "2-3", "4-5")
    errors = {"0-1": 1.0, "2-3": 2.0, "4-5": 4.0}
    decoders = {
        f"certificate {each}": {"mse": dict.fromkeys(groups, errors[each])} for each in groups
    }
    assert wrong_and_right(decoders, "mse", groups) == {
        "0-1": (3.0, 1.0),
        "2-3": (2.5, 2.0),
        "4-5": (1.5, 4.0),
    }
    assert not math.isnan(sum(errors.values()))
