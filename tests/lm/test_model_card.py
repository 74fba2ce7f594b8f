"""Tests of the model card: its measures, costs and robustness."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lm.classifier import Quality
from lm.config import RunConfig
from lm.labels import LabelConfig
from lm.methods import METHODS
from lm.model_card import card

RUN = RunConfig(model="a/model", labels=LabelConfig(recall=0.5))


def result(method: str, forget: float, retain: float, relearned: float) -> dict[str, Any]:
    """Return a result with a curve of one attack that ends at a loss."""
    values = {"forget_loss": [forget, relearned], "mcq_forget": [0.25, 0.5]}
    curve = {"attack": "same", "learning_rate": 1e-3, "num_examples": 8, "steps": [0, 5]}
    return {
        "method": method,
        "seed": 0,
        "label_recall": 0.5,
        "wall_seconds": 61.4,
        "forget_loss": {"before": 0.5, "after": forget, "repaired": forget},
        "retain_loss": {"before": 0.5, "after": retain, "repaired": retain},
        "curves": [{**curve, "values": values, "seed": 0}],
    }


GOLD, BASE = result("gold", 1.5, 0.5, 1.0), result("unrouted", 0.5, 0.4, 0.4)


def test_card_names_the_forgotten_topics_or_documents() -> None:
    assert ": a reference for models trained to forget forest\n" in card(RUN, GOLD, [])
    text = card(replace(RUN, data=Path("prepared/tales")), GOLD, [])
    assert "trained to forget documents of prepared/tales\n" in text


def test_card_shows_figures_and_cost_relative_to_the_references() -> None:
    text = card(RUN, result("rmu", 2.0, 0.42, 0.7), [GOLD, BASE])
    assert "base_model: a/model" in text
    assert "| forget loss, nats per token | 0.500 | 2.000 | 1.500 | 0.500 |" in text
    assert "facts known" not in text  # the run measured none
    assert "Retain loss relative to the unrouted model: +5.0%. Time of the run: 61 s." in text
    assert METHODS["rmu"].summary in text
    assert "50% of the texts to forget were labeled forget" in text


@pytest.mark.parametrize(
    ("method", "removed"),
    [("lora-reversed", True), ("npo", True), ("lora-pair", False), ("unrouted", None)],
)
def test_card_says_whether_what_the_model_knew_before_was_removed(
    method: str, removed: bool | None
) -> None:
    text = card(RUN, result(method, 2.0, 0.4, 0.7), [GOLD, BASE])
    assert ("What the model knew before counts as well." in text) == (removed is True)
    assert ("what the model knew before stays." in text) == (removed is False)


@pytest.mark.parametrize(("relearned", "answer"), [(0.91, "yes"), (0.89, "**no**")])
def test_card_calls_a_model_robust_when_attacks_gain_no_more_than_from_gold(
    relearned: float, answer: str
) -> None:
    text = card(RUN, result("rmu", 2.0, 0.42, relearned), [GOLD, BASE])
    assert f"| same | loss | {relearned:.3f} | 1.000 | {answer} |" in text
    assert "| same | facts | 50% | 50% | unknown, since unrouted withstands it as well |" in text


def test_card_says_what_a_classifier_labeled_and_why_it_was_not_used() -> None:
    marked = {"retain": 57, "unlabeled": 492, "forget": 2451}
    quality = Quality(auc=0.5, given=900, marked=marked, added=1700).as_result()
    text = card(RUN, {**result("modules", 2.0, 0.4, 0.9), "classifier": quality}, [GOLD, BASE])
    assert "The classifier labeled 2451 forget, 57 retain, 492 unlabeled, where 900" in text
    assert "the given ones were kept: its held-out AUC is 0.50, below 0.7." in text


def test_card_reports_unknown_without_references() -> None:
    text = card(RUN, result("rmu", 2.0, 0.42, 0.7), [])
    assert "relative to the unrouted model: unknown, since unrouted was not run" in text
    assert "| same | loss | 0.700 | unknown | unknown, since gold was not run |" in text


def test_card_of_gold_states_that_it_is_the_reference() -> None:
    assert "This is gold, the reference" in card(RUN, GOLD, [GOLD, BASE])


def test_card_ignores_references_of_another_seed() -> None:
    text = card(RUN, result("rmu", 2.0, 0.42, 0.7), [{**GOLD, "seed": 1}])
    assert "since gold was not run" in text
