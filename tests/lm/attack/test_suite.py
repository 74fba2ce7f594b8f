"""The suites: the full one has every attack, and each that trains nothing gives its rows."""

import pytest

from lm.attacks.probing import ProbeConfig
from lm.attacks.prompting import GCGConfig
from lm.attacks.relearning import ATTACKS
from lm.attacks.results import FACTS, LOSS, Row
from lm.attacks.suite import INFERENCE_ATTACKS, SUITES, GridConfig, quantized, run_inference_attack
from lm.evaluation.exam import ExamConfig, make_exam
from lm.evaluation.likelihoods import losses
from lm.evaluation.quiz import score
from tests.lm.attack.routed import random_llama
from tests.lm.attack.rows import same, weights
from tests.lm.evaluation import tiny_task

GRID = GridConfig(
    shots=(0, 2),
    bits=(4, 2),
    probe=ProbeConfig(ridge=1.0, rounds=1),
    gcg=GCGConfig(tokens=1, steps=1, candidates=1, top=1),
)


def test_the_full_suite_begins_with_relearning_and_has_every_attack_once() -> None:
    assert SUITES["relearning"] == ("same", "half", "benign")
    assert SUITES["full"] == (*ATTACKS, *INFERENCE_ATTACKS)
    assert SUITES["full"][:3] == SUITES["relearning"]
    assert len(set(SUITES["full"])) == len(SUITES["full"])


@pytest.mark.parametrize("name", INFERENCE_ATTACKS)
def test_a_model_of_hugging_face_is_looked_at_and_stays_as_it_is(name: str) -> None:
    task = tiny_task()
    exam = make_exam(task, 0, ExamConfig(stories=4, rounds=1))
    model = random_llama(task)
    before = weights(model)
    rows = run_inference_attack(model, task, exam, name, GRID, seed=0)
    assert {row.attack for row in rows} == {name}
    assert any(row.figure == FACTS for row in rows)
    assert all(0 <= row.value <= 1 for row in rows if row.figure != LOSS)
    assert rows == run_inference_attack(model, task, exam, name, GRID, seed=0)
    assert same(weights(model), before)


def test_rounded_models_are_read_off_the_exam() -> None:
    task = tiny_task()
    exam = make_exam(task, 0, ExamConfig(stories=4, rounds=1))
    model, section = random_llama(task), exam.sections["forget"]
    rounded = quantized(model, 2)
    assert section.quiz is not None
    assert run_inference_attack(model, task, exam, "quantized", GRID, seed=0)[2:] == [
        Row("quantized", {"bits": 2}, FACTS, score(rounded, section.quiz).choice),
        Row("quantized", {"bits": 2}, LOSS, losses(rounded, section.rows).loss),
    ]


@pytest.mark.parametrize(
    "wrong", [{"shots": ()}, {"shots": (1, 1)}, {"shots": (-1,)}, {"bits": (1,)}, {"bits": (32,)}]
)
def test_bad_settings_are_refused(wrong: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="were given: give"):
        GridConfig(**wrong)  # type: ignore[arg-type]


def test_an_attack_must_be_known() -> None:
    task = tiny_task()
    exam = make_exam(task, 0, ExamConfig(stories=4, rounds=1))
    with pytest.raises(ValueError, match="choose one of few-shot, probe"):
        run_inference_attack(random_llama(task), task, exam, "hypnosis", GRID, seed=0)
