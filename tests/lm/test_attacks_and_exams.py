"""Each attack looks where an exam has something to show."""

import pytest

from lm.attacks.relearning import ATTACKS
from lm.data.task import TaskConfig, make_task
from lm.evaluation.config import ExamConfig
from lm.evaluation.exam import make_exam


@pytest.mark.parametrize("quartets", [1, 2])
def test_an_exam_has_the_section_that_each_attack_shows(quartets: int) -> None:
    task = make_task(TaskConfig(quartets=quartets))
    exam = make_exam(task, 0, ExamConfig(stories=4, rounds=1))
    assert {attack.shows for attack in ATTACKS.values()} <= set(exam.sections)
