"""Scores of responses match counts by hand."""

from io import StringIO

import pytest
from rich.console import Console

from lm.evaluation.harness import Response
from lm.evaluation.question_scores import scores, scores_table, wilson


def response(subject: str, right: int, /, **likelihoods: tuple[float, ...]) -> Response:
    by_form = {name.replace("_", "-"): numbers for name, numbers in likelihoods.items()}
    return Response(subject, right, (1, 4), by_form)


def values(responses: list[Response], group: str = "all") -> dict[str, float]:
    return {name: share.value for name, share in scores(responses)[group].measures.items()}


def test_measures_rank_choices_by_their_form() -> None:
    forms = {"letter": (-2.0, -1.0), "answer": (-3.0, -2.0), "choices_only": (-1.0, -3.0)}
    assert values([response("a", 1, **forms, cloze=(-1.0, -2.0))]) == {
        "letter": 1.0,
        "answer": 1.0,
        "cloze": 0.0,
        "cloze_per_character": 1.0,  # -1 / 1 is less than -2 / 4
        "choices-only": 0.0,
    }


def test_tied_choices_share_the_credit() -> None:
    several = [response("a", answer, letter=(-1.0, -1.0)) for answer in (0, 1, 1)]
    assert values(several) == {"letter": 0.5}


def test_empty_choice_never_wins() -> None:
    one = Response("a", 1, (0, 4), {"cloze": (-0.1, -8.0)})
    assert values([one])["cloze_per_character"] == 1.0


def test_nan_likelihoods_score_zero() -> None:
    assert values([response("a", 0, letter=(float("nan"), -1.0))]) == {"letter": 0.0}


def test_scores_list_each_subject_when_there_are_several() -> None:
    right = response("b", 0, letter=(-1.0, -2.0))
    wrong = response("a", 1, letter=(-1.0, -2.0))
    assert list(scores([right, right])) == ["all"]
    found = scores([right, wrong, right])
    assert list(found) == ["all", "a", "b"]
    assert [score.questions for score in found.values()] == [3, 1, 2]
    assert values([right, wrong], "a") == {"letter": 0.0}


def test_chance_is_the_mean_over_questions() -> None:
    two = response("a", 0, letter=(-1.0, -2.0))
    four = Response("a", 0, (1, 1, 1, 1), {"letter": (-1.0, -2.0, -2.0, -2.0)})
    assert scores([two, four])["all"].chance == pytest.approx(0.375)


def test_scores_are_refused_when_there_is_no_response() -> None:
    with pytest.raises(ValueError, match="no question was asked"):
        scores([])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 50, 1273])
def test_wilson_interval_ends_where_the_share_is_just_inside(share: float, count: int) -> None:
    found = wilson(share, count)
    for end in (found.low, found.high):
        assert abs(share - end) == pytest.approx(
            1.959963985 * (end * (1 - end) / count) ** 0.5, abs=1e-9
        )
    assert 0 <= found.low <= share <= found.high <= 1


def test_table_fits_80_columns() -> None:
    forms = ("letter", "answer", "cloze", "choices_only")
    names = ("high_school_government_and_politics", "anatomy")
    several = [response(n, 0, **dict.fromkeys(forms, (-1.0, -2.0))) for n in names * 8000]
    console = Console(width=80, record=True, file=StringIO())
    console.print(scores_table("mmlu, asked of a/model", scores(several)))
    text = console.export_text()
    assert all(len(line) <= 80 for line in text.splitlines())
    for whole in ("16000", "8000", "100.0%", "100-100", "character", "choices", "anatomy"):
        assert whole in text
