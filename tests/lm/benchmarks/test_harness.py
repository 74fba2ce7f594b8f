"""Log-likelihoods are those of lm-evaluation-harness: stored ones, and new ones if it is there.

Models are in float64: in float32 the two differ in the last bits, as they add up differently.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lm.benchmarks.questions import Question, QuestionSet
from lm.benchmarks.results import MEASURES
from lm.benchmarks.scoring import Asked, Asker, Encoder
from lm.models.hf import RoutedCausalLM
from tests.lm.benchmarks.harness import (
    STORED,
    STORED_QUESTIONS,
    TASKS,
    harness_samples,
    likelihoods,
)
from tests.lm.benchmarks.made import (
    FAMILIES,
    SUBJECT,
    made_model,
    made_questions,
    made_tokenizer,
)

NEEDS_HARNESS = "the extra `eval` is not installed: pip install -e '.[eval]'"
FORMS = tuple(TASKS)


def asked(
    family: str, questions: list[Question], shots: list[Question], dtype: torch.dtype
) -> list[Asked]:
    """Return what our scorer makes of questions."""
    model = RoutedCausalLM(made_model(family, dtype))
    tokenizer = made_tokenizer(begins=family == "llama")
    asker = Asker(model, Encoder(tokenizer, model.context), FORMS, len(shots), batch_size=7)
    found = asker.ask(QuestionSet("made", tuple(questions), {SUBJECT: tuple(shots)}))
    return [each for chunk in found for each in chunk]


def apart(ours: list[Asked], theirs: list[list[float]], form: str) -> float:
    """Return the largest difference of a log-likelihood."""
    found = torch.tensor([each.likelihoods[form] for each in ours], dtype=torch.float64)
    expected = torch.tensor(theirs, dtype=torch.float64)
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


def test_likelihoods_are_those_that_the_harness_found() -> None:
    stored = json.loads(STORED.read_text())
    ours = asked("llama", made_questions(STORED_QUESTIONS), [], torch.float64)
    assert max(apart(ours, stored[form], form) for form in FORMS) < 1e-6


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lm_eval") is None, reason=NEEDS_HARNESS)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("subject", "shots", "count"), [(SUBJECT, 0, 240), (SUBJECT, 2, 40), ("", 0, 60)]
)
def test_likelihoods_are_those_of_the_harness(
    family: str, subject: str, shots: int, count: int, tmp_path: Path
) -> None:
    questions = made_questions(count, seed=1, subject=subject)
    examples = made_questions(shots, seed=2)
    ours = asked(family, questions, examples, torch.float64)
    model = (made_model(family), made_tokenizer(begins=family == "llama"))
    for form in FORMS:
        samples = harness_samples(model, form, questions, examples, tmp_path)
        difference = apart(ours, likelihoods(samples), form)
        print(f"{family}, {form}: {difference:.1e}")  # noqa: T201 (shown by -s)
        assert difference < 1e-6
        if form == "cloze":
            _, rank = MEASURES["cloze_per_character"]
            best = [max(range(4), key=rank(each).__getitem__) for each in ours]
            right = [each.answer == first for each, first in zip(ours, best, strict=True)]
            assert right == [bool(sample["acc_norm"]) for sample in samples]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lm_eval") is None, reason=NEEDS_HARNESS)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_in_float32_they_differ_in_the_last_bits_only(family: str, tmp_path: Path) -> None:
    questions = made_questions(60, seed=3)
    ours = asked(family, questions, [], torch.float32)
    model = (made_model(family, torch.float32), made_tokenizer(begins=family == "llama"))
    for form in FORMS:
        theirs = likelihoods(harness_samples(model, form, questions, [], tmp_path))
        found = torch.tensor([each.likelihoods[form] for each in ours])
        print(f"{family}, {form}, float32: {apart(ours, theirs, form):.1e}")  # noqa: T201
        torch.testing.assert_close(found, torch.tensor(theirs), rtol=2e-6, atol=2e-6)
