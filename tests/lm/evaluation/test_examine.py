"""Reports of models that know nothing, all, or all but what is to be forgotten."""

from math import log

import pytest
import torch

from lm.evaluation.exam import ExamConfig, examine, examine_calibrated, make_exam
from lm.evaluation.likelihoods import losses
from lm.evaluation.quiz import CalibrationConfig, calibrate
from tests.lm.evaluation import knower, random_model, single, tiny_task, uniform

TASK = tiny_task()
WORLD = TASK.grammar.world
EXAM = make_exam(TASK, 2, ExamConfig(stories=20, rounds=1))
SPLITS = ("forget", "adjacent", "retain")


def test_a_model_that_knows_nothing_guesses_everywhere() -> None:
    report = examine(uniform(TASK.vocab_size), EXAM)
    chance = {"mcq": 1 / 4, "cloze": 1 / 5}
    assert len(report) == 5 * 7 + 3 + 1
    for name, figure in report.items():
        first, *_, last = name.split("_")
        if first in chance:
            assert figure == pytest.approx(chance[first])
        elif name == "fact_guess_loss":
            assert figure == pytest.approx(log(5))
        else:
            guess = log(TASK.vocab_size)
            assert figure == pytest.approx(guess) if last == "loss" else 0 < figure < guess


def test_what_is_forgotten_is_seen_and_what_is_not_too() -> None:
    all_facts = examine(knower(TASK, WORLD.facts_of(WORLD.topics)), EXAM)
    retained = examine(knower(TASK, WORLD.facts_of(["hill", "lake"])), EXAM)
    for name in ("forget", "forget_first", "forget_second", "forget_reworded"):
        assert all_facts[f"mcq_{name}"] == all_facts[f"cloze_{name}"] == 1
        assert retained[f"mcq_{name}"] == 1 / 4
        assert all_facts[f"{name}_fact_loss"] < 2 < retained[f"{name}_fact_loss"]
    for name in ("adjacent", "retain"):
        assert retained[f"mcq_{name}"] == retained[f"cloze_{name}"] == 1
    for report in (all_facts, retained):
        assert report["mcq_forget_held_out"] == 1 / 4
        assert {report[f"mcq_{name}_control"] for name in EXAM.sections} == {1 / 4}


def test_a_bias_goes_into_all_figures() -> None:
    red = single(TASK, " red")
    bias = 100.0 * (torch.arange(TASK.vocab_size) == red)
    report = examine(uniform(TASK.vocab_size), EXAM, bias)
    rows = EXAM.sections["forget"].rows
    share = float((rows.targets[rows.kinds >= 0] == red).float().mean())
    assert report["forget_loss"] == pytest.approx(100 * (1 - share))
    answers = [WORLD.value(int(fact)) for fact in WORLD.facts_of(["wood"])]
    assert report["cloze_forget"] == pytest.approx(answers.count("red") / len(answers) + 1 / 10)


def test_the_halves_of_the_facts_are_told_apart() -> None:
    report = examine(knower(TASK, WORLD.facts_of(["wood"], ["second"])), EXAM)
    assert report["mcq_forget_first"] == 1 / 4
    assert report["mcq_forget_second"] == 1
    assert report["mcq_forget"] == pytest.approx(5 / 8)


def test_calibrated_losses_are_of_other_stories_than_the_bias() -> None:
    model = random_model(TASK)
    config = CalibrationConfig(steps=5)
    report = examine_calibrated(model, EXAM, config)
    practice = EXAM.practice
    bias = calibrate(model, practice["forget"], practice["retain"], practice["adjacent"], config)
    expected: dict[str, float] = {}
    for name in SPLITS:
        found = losses(model, EXAM.sections[name].rows, bias)
        expected |= {
            f"{name}_calibrated_loss": found.loss,
            f"{name}_calibrated_fact_loss": float(found.facts or 0),
        }
    assert report == expected
    assert report["retain_calibrated_loss"] < losses(model, EXAM.sections["retain"].rows).loss


def test_what_is_left_is_calibrated_on_where_only_adjacent_topics_are() -> None:
    exam = make_exam(tiny_task("wood", "lake"), 2, ExamConfig(stories=4, rounds=1))
    model, config = random_model(TASK), CalibrationConfig(steps=2)
    bias = calibrate(model, exam.practice["forget"], exam.practice["adjacent"], config=config)
    report = examine_calibrated(model, exam, config)
    assert set(report) == {
        f"{name}_calibrated_{kind}"
        for name in ("forget", "adjacent")
        for kind in ("loss", "fact_loss")
    }
    expected = losses(model, exam.sections["adjacent"].rows, bias).loss
    assert report["adjacent_calibrated_loss"] == expected
