"""Tests of profiles: which a method serves, what they can do, and what elicitation brings back."""

from math import isnan

import pytest
import torch

from lm.attacks.config import AttackConfig
from lm.attacks.relearning import Curve, relearn
from lm.corpus import Kind, StoryDistribution
from lm.evaluation.exam import ExamConfig
from lm.evaluation.likelihoods import losses
from lm.evaluation.topic_exam import examine_topics, make_topic_exam
from lm.models.gpt import GPT
from lm.models.shapes import GPTConfig
from lm.serving import (
    STREAM,
    Elicitation,
    best_checkpoint,
    examine_profiles,
    kept_topics,
    localized,
    served,
    subsets,
    trained_topics,
)
from tests.lm.attacks.row_factories import same, weights
from tests.lm.evaluation.factories import random_model, tiny_task
from tests.lm.models.gpt_factories import random_gpt

TASK = tiny_task("wood", "lake")
TOPICS = TASK.splits.forget
SHAPE = GPTConfig(
    vocab_size=TASK.vocab_size,
    width=8,
    num_layers=2,
    num_heads=2,
    context=TASK.context,
    expansion=3,
    expanded_layers=(0, 1),
    modules=TOPICS,
)
SIZE = ExamConfig(stories=4, rounds=1)


def test_all_subsets_come_once_and_smaller_ones_first() -> None:
    found = subsets("abcd")
    assert len(found) == len(set(found)) == 16
    assert [len(each) for each in found] == [0, *[1] * 4, *[2] * 6, *[3] * 4, 4]


def test_topics_of_a_profile() -> None:
    assert kept_topics((), TOPICS) == ()
    assert kept_topics(("lake",), TOPICS) == ("lake",)
    assert kept_topics(("lake", "wood"), TOPICS) == TOPICS
    assert kept_topics(("expansion",), TOPICS) == TOPICS
    assert trained_topics("unrouted", TOPICS) == TOPICS
    assert trained_topics("filtered", TOPICS) == trained_topics("npo", TOPICS) == ()
    assert trained_topics("filtered+wood+lake", TOPICS) == ("wood", "lake")


def test_every_subset_of_the_modules_of_a_method_is_served() -> None:
    trained = random_gpt(SHAPE)
    found = list(served("modules", trained, trained.ablated(), TOPICS))
    assert [each.on for each in found] == [(), ("wood",), ("lake",), ("wood", "lake")]
    assert [each.kept for each in found] == [each.on for each in found]
    for each in found:
        assert same(weights(each.model), weights(trained.profile(*each.on)))


@pytest.mark.parametrize(
    ("method", "on"), [("unrouted", TOPICS), ("filtered", ()), ("filtered+lake", ("lake",))]
)
def test_method_without_modules_serves_what_it_was_trained_on(
    method: str, on: tuple[str, ...]
) -> None:
    model = random_model(TASK)
    ((found, kept, its),) = served(method, model, model, TOPICS)
    assert (found, kept) == (on, on)
    assert its is model


@pytest.mark.parametrize("method", ["modules-rmu", "random-region"])
def test_what_follows_the_training_of_modules_is_served_alone(method: str) -> None:
    trained, ablated = random_gpt(SHAPE), random_model(TASK)
    ((on, _, model),) = served(method, trained, ablated, TOPICS)
    assert on == ()
    assert model is ablated


def test_record_of_profiles_has_the_exam_of_each() -> None:
    trained, exam = random_gpt(SHAPE), make_topic_exam(TASK, 1, SIZE)
    found = examine_profiles(served("modules", trained, trained.ablated(), TOPICS), exam)
    assert [each["on"] for each in found] == subsets(TOPICS)
    assert found[0]["topics"] == examine_topics(trained.ablated(), exam)
    assert found[3]["topics"] == examine_topics(trained.profile(*TOPICS), exam)
    with_lake = dict(found[2]["topics"]["lake"])
    assert isinstance(with_lake.pop("localized"), float)
    assert with_lake == examine_topics(trained.profile("lake"), exam)["lake"]
    assert found[0]["topics"] != found[3]["topics"]


def test_localized_is_the_share_of_the_increase_on_words_of_the_topic() -> None:
    exam = make_topic_exam(TASK, 1, SIZE)
    kinds = exam.rows.kinds
    of_topic = (kinds == Kind.NOUN) | (kinds == Kind.ENTITY) | (kinds == Kind.VALUE)
    here = (exam.of_row == exam.sections.index("lake"))[:, None]
    increase = torch.where(of_topic, 3.0, 0.0) + torch.where((kinds >= 0) & ~of_topic, 0.5, 0.0)
    words, others = (int((each & here).sum()) for each in (of_topic, (kinds >= 0) & ~of_topic))
    share = 3 * words / (3 * words + 0.5 * others)
    assert localized(increase, exam, "lake") == pytest.approx(share)
    assert localized(torch.where(of_topic & here, 1.0, 0.0), exam, "lake") == 1.0
    assert isnan(localized(-increase, exam, "lake"))
    assert isnan(localized(increase.where(~here, torch.tensor(0.0)), exam, "lake"))


def test_elicitation_is_relearning_at_the_step_of_the_least_validation_loss() -> None:
    model = GPT(SHAPE, seed=3).ablated()
    config = AttackConfig(learning_rates=(3e-2,), num_examples=(2, 6), steps=5)
    found = Elicitation(TASK, 1, config, SIZE).run(model, "lake")
    examples, held_out = (
        TASK.sample(count, [1, STREAM, 1, part], StoryDistribution(topics=("lake",)))
        for part, count in enumerate((6, 4))
    )
    exam = make_topic_exam(TASK, 1, SIZE, sections=("core", "lake"))
    slow = relearn(
        model,
        examples,
        lambda attacked: {
            "validation": losses(attacked, held_out).loss,
            "core": examine_topics(attacked, exam)["core"]["loss"],
            "loss": examine_topics(attacked, exam)["lake"]["loss"],
        },
        3e-2,
        config,
    )
    validation, core = slow.values["validation"], slow.values["core"]
    counted = [k for k in range(len(slow.steps)) if core[k] <= 1.1 * core[0]]
    best = min(counted, key=validation.__getitem__)
    assert found["elicited_loss"] == pytest.approx(slow.values["loss"][best], abs=1e-6)
    assert found["elicited_loss"] < slow.values["loss"][0]
    assert 0 <= found["elicited_facts"] <= 1
    assert same(weights(model), weights(GPT(SHAPE, seed=3).ablated()))


def test_checkpoint_that_damages_the_core_does_not_count() -> None:
    def curve(rate: float, validation: tuple[float, ...], core: tuple[float, ...]) -> Curve:
        values = {
            "validation": validation,
            "core": core,
            "loss": tuple(v + rate for v in validation),
        }
        return Curve("relearning", rate, 8, (0, 5, 10), values)

    slow = curve(0.1, (3.0, 2.0, 1.5), (1.0, 1.05, 1.1))
    fast = curve(0.2, (3.0, 0.9, 1.2), (1.0, 1.2, 1.08))
    assert best_checkpoint([slow])["loss"] == pytest.approx(1.6)
    assert best_checkpoint([slow, fast])["loss"] == pytest.approx(1.4)
    assert best_checkpoint([curve(0.1, (3.0, 2.0, 1.0), (1.0, 9.0, 9.0))])["validation"] == 3.0
