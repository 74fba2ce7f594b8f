"""The sections of exams, and the report of a model."""

from math import log

import numpy as np
import pytest
import torch

from lm.corpus import (
    HALVES,
    PARTS,
    Cue,
    StoryDistribution,
    encode,
    entropy_lower_bound,
    sample_stories,
)
from lm.data.task import StoryRows, TaskConfig, make_task
from lm.evaluation.exam import Exam, ExamConfig, examine, examine_calibrated, least_loss, make_exam
from lm.evaluation.likelihoods import losses
from lm.evaluation.quiz import CalibrationConfig, Quiz, calibrate
from tests.lm.evaluation.factories import knower, random_model, single, tiny_task, uniform

TASK = tiny_task()
WORLD = TASK.grammar.world
EXAM = make_exam(TASK, 6, ExamConfig(stories=80, rounds=2))
SECTIONS = {
    "forget": ("wood", HALVES),
    "adjacent": ("hill", HALVES),
    "retain": ("lake", HALVES),
    "forget_first": ("wood", ("first",)),
    "forget_second": ("wood", ("second",)),
    "forget_held_out": ("wood", ("held_out",)),
    "forget_reworded": ("wood", HALVES),
}


def stated(rows: StoryRows) -> set[int]:
    return set(rows.facts[rows.facts >= 0].tolist())


def texts(rows: StoryRows) -> list[str]:
    tokens = [[token for token in row if token > 0] for row in rows.tokens.tolist()]
    return [str(text) for text in TASK.tokenizer.decode_batch(tokens)]


@pytest.mark.parametrize("name", SECTIONS)
def test_sections_state_and_ask_their_facts(name: str) -> None:
    topic, parts = SECTIONS[name]
    section = EXAM.sections[name]
    facts = WORLD.facts_of([topic], parts)
    assert list(EXAM.sections) == list(SECTIONS)
    assert stated(section.rows) <= set(facts.tolist())
    assert name not in EXAM.lower_bounds or stated(section.rows) == set(facts.tolist())
    assert set(section.rows.topics.tolist()) == {WORLD.topics.index(topic)}
    assert len(quiz_of(EXAM, name)) == 2 * len(facts)
    assert len(section.rows) == (80 if name in EXAM.lower_bounds else 20)


def test_reworded_facts_use_held_out_templates() -> None:
    reworded = texts(EXAM.sections["forget_reworded"].rows)
    assert all("All say the" in text or "Of " in text for text in reworded)
    for name in SECTIONS:
        if name != "forget_reworded":
            assert not any("All say" in text for text in texts(EXAM.sections[name].rows))


def quiz_of(exam: Exam, name: str) -> Quiz:
    quiz = exam.sections[name].quiz
    assert quiz is not None
    return quiz


def same(one: Exam, other: Exam) -> bool:
    return all(
        one.sections[name].rows.tokens.equal(other.sections[name].rows.tokens)
        and quiz_of(one, name).texts.rows.equal(quiz_of(other, name).texts.rows)
        and quiz_of(one, name).choices.equal(quiz_of(other, name).choices)
        for name in SECTIONS
    )


def test_exam_depends_only_on_the_seed() -> None:
    again = make_exam(TASK, 6, ExamConfig(stories=80, rounds=2))
    assert same(EXAM, again)
    assert all(
        rows.tokens.equal(again.practice[name].tokens) for name, rows in EXAM.practice.items()
    )
    other = make_exam(TASK, 7, ExamConfig(stories=80, rounds=2))
    assert not any(
        EXAM.sections[name].rows.tokens.equal(other.sections[name].rows.tokens) for name in SECTIONS
    )


def test_sets_of_stories_are_drawn_independently() -> None:
    drawn = [EXAM.sections[name].rows for name in EXAM.practice]
    drawn += [TASK.sample(80, seed) for seed in ([6], [6, 1], [6, 1000])]
    drawn += EXAM.practice.values()
    rows = [tuple(map(tuple, rows.tokens[:, :20].tolist())) for rows in drawn]
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(
    ("forget", "splits"),
    [(("wood", "hill"), ["forget", "retain"]), (("wood", "lake"), ["forget", "adjacent"])],
)
def test_exam_omits_splits_without_topics(forget: tuple[str, ...], splits: list[str]) -> None:
    exam = make_exam(tiny_task(*forget), 0, ExamConfig(stories=4, rounds=1))
    assert list(exam.lower_bounds) == list(exam.practice) == splits
    assert list(exam.sections)[: len(splits)] == splits
    assert len(exam.sections) == len(splits) + 4


@pytest.mark.parametrize("topics", [("wood",), ("lake", "hill")])
def test_lower_bound_is_the_loss_of_a_reader_of_all_topics(
    topics: tuple[str, ...],
) -> None:
    distribution = StoryDistribution(topics=topics)
    rows = TASK.sample(2000, [3], distribution)
    stories = sample_stories(TASK.grammar, 2000, np.random.default_rng([3]), distribution)
    tokens = len(encode(stories, TASK.tokenizer))
    # any topic could have come, and each of those that did costs as much as it does alone
    alone = [
        entropy_lower_bound(TASK.grammar, StoryDistribution(topics=(topic,))).sum()
        for topic in topics
    ]
    story = np.mean(alone) + log(len(WORLD.topics))
    assert least_loss(TASK, distribution, rows) == pytest.approx(story * len(stories) / tokens)


def test_guess_loss_is_the_logarithm_of_the_number_of_values() -> None:
    assert EXAM.guess == pytest.approx(log(5))


def test_stories_of_half_a_quartet_state_one_fact() -> None:
    sections = EXAM.sections
    values = {name: int((sections[name].rows.kinds == 4).sum()) for name in SECTIONS}
    assert values == dict.fromkeys(EXAM.lower_bounds, 160) | {
        "forget_first": 20,
        "forget_second": 20,
        "forget_held_out": 20,
        "forget_reworded": 40,
    }


@pytest.mark.parametrize(("seed", "stories", "rounds"), [(-1, 4, 1), (0, 0, 1), (0, 4, 0)])
def test_make_exam_refuses_invalid_settings(seed: int, stories: int, rounds: int) -> None:
    with pytest.raises(
        ValueError, match=r"an exam of seed -1|(stories|rounds) 0 was given: give 1"
    ):
        make_exam(TASK, seed, ExamConfig(stories=stories, rounds=rounds))


def test_smallest_exam_has_one_story_per_section() -> None:
    exam = make_exam(TASK, 0, ExamConfig(stories=1, rounds=1))
    assert {len(section.rows) for section in exam.sections.values()} == {1}
    assert torch.isfinite(torch.tensor(list(exam.lower_bounds.values()))).all()


SMALL_EXAM = make_exam(TASK, 2, ExamConfig(stories=20, rounds=1))
SPLITS = ("forget", "adjacent", "retain")


def test_uniform_model_scores_chance_on_every_figure() -> None:
    report = examine(uniform(TASK.vocab_size), SMALL_EXAM)
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


def test_examine_scores_known_facts_above_forgotten_ones() -> None:
    all_facts = examine(knower(TASK, WORLD.facts_of(WORLD.topics)), SMALL_EXAM)
    retained = examine(knower(TASK, WORLD.facts_of(["hill", "lake"])), SMALL_EXAM)
    for name in ("forget", "forget_first", "forget_second", "forget_reworded"):
        assert all_facts[f"mcq_{name}"] == all_facts[f"cloze_{name}"] == 1
        assert retained[f"mcq_{name}"] == 1 / 4
        assert all_facts[f"{name}_fact_loss"] < 2 < retained[f"{name}_fact_loss"]
    for name in ("adjacent", "retain"):
        assert retained[f"mcq_{name}"] == retained[f"cloze_{name}"] == 1
    for report in (all_facts, retained):
        assert report["mcq_forget_held_out"] == 1 / 4
        assert {report[f"mcq_{name}_control"] for name in SMALL_EXAM.sections} == {1 / 4}


def test_output_bias_affects_losses_and_quizzes() -> None:
    red = single(TASK, " red")
    bias = 100.0 * (torch.arange(TASK.vocab_size) == red)
    report = examine(uniform(TASK.vocab_size), SMALL_EXAM, bias)
    rows = SMALL_EXAM.sections["forget"].rows
    share = float((rows.targets[rows.kinds >= 0] == red).float().mean())
    assert report["forget_loss"] == pytest.approx(100 * (1 - share))
    answers = [WORLD.value(int(fact)) for fact in WORLD.facts_of(["wood"])]
    assert report["cloze_forget"] == pytest.approx(answers.count("red") / len(answers) + 1 / 10)


def test_examine_scores_the_halves_separately() -> None:
    report = examine(knower(TASK, WORLD.facts_of(["wood"], ["second"])), SMALL_EXAM)
    assert report["mcq_forget_first"] == 1 / 4
    assert report["mcq_forget_second"] == 1
    assert report["mcq_forget"] == pytest.approx(5 / 8)


def test_calibration_uses_practice_stories() -> None:
    model = random_model(TASK)
    config = CalibrationConfig(steps=5)
    report = examine_calibrated(model, SMALL_EXAM, config)
    practice = SMALL_EXAM.practice
    bias = calibrate(model, practice["forget"], practice["retain"], practice["adjacent"], config)
    expected: dict[str, float] = {}
    for name in SPLITS:
        found = losses(model, SMALL_EXAM.sections[name].rows, bias)
        expected |= {
            f"{name}_calibrated_loss": found.loss,
            f"{name}_calibrated_fact_loss": float(found.facts or 0),
        }
    assert report == expected
    assert report["retain_calibrated_loss"] < losses(model, SMALL_EXAM.sections["retain"].rows).loss


def test_calibration_uses_adjacent_topics_when_none_is_retained() -> None:
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


@pytest.mark.parametrize("cue", ["entities", "pairs"])
def test_exam_of_topics_that_share_words_has_all_sections_and_the_same_bound_for_each(
    cue: Cue,
) -> None:
    task = make_task(TaskConfig(topic_cue=cue))
    exam = make_exam(task, 0, ExamConfig(stories=8, rounds=1))
    own = make_exam(make_task(TaskConfig()), 0, ExamConfig(stories=8, rounds=1))
    assert list(exam.sections) == list(own.sections)
    world = task.grammar.world
    for name, section in exam.sections.items():
        stated = set(section.rows.facts[section.rows.facts >= 0].tolist())
        parts = tuple(part for part in PARTS if name == f"forget_{part}") or HALVES
        topics = getattr(task.splits, name, task.splits.forget)
        assert stated <= set(world.facts_of(topics, parts).tolist())
        assert section.quiz is not None
    # a reader of all topics pays as much for stories of one as for any other
    nats = {
        name: exam.lower_bounds[name] * int((exam.sections[name].rows.kinds >= 0).sum())
        for name in exam.lower_bounds
    }
    assert max(nats.values()) - min(nats.values()) < 1e-6
