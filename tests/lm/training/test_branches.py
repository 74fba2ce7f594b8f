"""Tests of the routes and texts of trainings on topics after the core."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.models.shapes import targets
from lm.training.branches import BranchConfig, branch_table, draw_branches
from lm.training.profiles import profile_table
from lm.training.route_tables import FORGET, RETAIN, UNLABELED

TOPICS = ("forest", "ocean")


def test_table_is_that_of_profiles_with_a_frozen_core() -> None:
    rows, profiles = branch_table(TOPICS).as_dict(), profile_table(TOPICS).as_dict()
    assert list(rows) == list(profiles)
    for route, row in rows.items():
        assert row == profiles[route] | {"original_parameters": 0.0}
        assert set(row) == set(targets(TOPICS))


@given(
    labels=st.lists(st.integers(0, FORGET + 1), min_size=1, max_size=60),
    share=st.floats(0, 0.9),
    kept=st.sampled_from([(0,), (1,), (0, 1)]),
)
def test_branches_learn_from_all_texts_of_their_topics_and_some_of_the_core(
    labels: list[int], share: float, kept: tuple[int, ...]
) -> None:
    given_labels, config = torch.tensor(labels), BranchConfig(core_share=share)
    places, routes = draw_branches(given_labels, 2, kept, config, seed=3)
    learned = [place for place, label in enumerate(labels) if label - FORGET in kept]
    assert places[: len(learned)].tolist() == learned
    assert routes[: len(learned)].tolist() == [labels[place] for place in learned]
    rehearsed = places[len(learned) :]
    assert (given_labels[rehearsed] == RETAIN).all()
    assert len(set(rehearsed.tolist())) == len(rehearsed)
    wanted = round(len(learned) * share / (1 - share))
    assert len(rehearsed) == min(wanted, labels.count(RETAIN))
    names = [branch_table(TOPICS).route_names[route] for route in routes[len(learned) :]]
    assert set(names) <= {f"retain+{TOPICS[number]}" for number in kept}
    again = draw_branches(given_labels, 2, kept, config, seed=3)
    assert torch.equal(places, again[0])
    assert torch.equal(routes, again[1])


def test_unlabeled_texts_teach_no_branch() -> None:
    places, _ = draw_branches(torch.tensor([UNLABELED, FORGET]), 1, [0], BranchConfig(), 0)
    assert places.tolist() == [1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"core_share": 1.0}, r"core_share 1\.0 was given: give less"),
        ({"core_share": -0.1}, r"core_share -0\.1 was given: give a number in \[0, 1\]"),
        ({"steps": -1}, "steps -1 was given: give 0 or more"),
        ({"learning_rate": 0.0}, r"learning_rate 0\.0 was given"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BranchConfig(**settings)  # type: ignore[arg-type]
