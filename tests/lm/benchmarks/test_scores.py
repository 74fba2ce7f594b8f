"""Shares of right answers, counted by hand."""

import pytest

from lm.benchmarks.results import scores, wilson
from lm.benchmarks.scoring import Asked


def asked(subject: str, right: int, /, **likelihoods: tuple[float, ...]) -> Asked:
    return Asked(subject, right, (1, 4), likelihoods)


def values(questions: list[Asked], group: str = "all") -> dict[str, float]:
    return {name: share.value for name, share in scores(questions)[group].measures.items()}


def test_each_measure_ranks_by_its_own_form() -> None:
    forms = {"letter": (-2.0, -1.0), "answer": (-3.0, -2.0)}
    one = asked("a", 1, **forms, cloze=(-1.0, -2.0), control=(-1.0, -3.0))
    assert values([one]) == {
        "letter": 1.0,
        "answer": 1.0,
        "cloze": 0.0,
        "cloze_per_character": 1.0,  # -1 beside -0.5
        "control": 0.0,
    }


def test_equally_likely_choices_share_the_credit() -> None:
    assert values([asked("a", answer, letter=(-1.0, -1.0)) for answer in (0, 1, 1)]) == {
        "letter": 0.5
    }


def test_a_choice_without_characters_is_never_the_best() -> None:
    one = Asked("a", 1, (0, 4), {"cloze": (-0.1, -8.0)})
    assert values([one])["cloze_per_character"] == 1.0


def test_what_is_no_number_is_never_right() -> None:
    assert values([asked("a", 0, letter=(float("nan"), -1.0))]) == {"letter": 0.0}


def test_subjects_are_apart_where_there_are_several() -> None:
    right, wrong = asked("b", 0, letter=(-1.0, -2.0)), asked("a", 1, letter=(-1.0, -2.0))
    assert list(scores([right, right])) == ["all"]
    found = scores([right, wrong, right])
    assert list(found) == ["all", "a", "b"]
    assert [score.questions for score in found.values()] == [3, 1, 2]
    assert values([right, wrong], "a") == {"letter": 0.0}


def test_chance_is_the_mean_over_questions() -> None:
    two = asked("a", 0, letter=(-1.0, -2.0))
    four = Asked("a", 0, (1, 1, 1, 1), {"letter": (-1.0, -2.0, -2.0, -2.0)})
    assert scores([two, four])["all"].chance == pytest.approx(0.375)


def test_without_questions_there_is_no_score() -> None:
    with pytest.raises(ValueError, match="no question was asked"):
        scores([])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 50, 1273])
def test_the_ends_of_an_interval_are_where_the_share_is_just_within(
    share: float, count: int
) -> None:
    found = wilson(share, count)
    for end in (found.low, found.high):
        assert abs(share - end) == pytest.approx(
            1.959963985 * (end * (1 - end) / count) ** 0.5, abs=1e-9
        )
    assert 0 <= found.low <= share <= found.high <= 1
