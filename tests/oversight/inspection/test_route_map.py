"""Arrows of the map: shares of gradients, weights, and what arrives beside the gates."""

import pytest

from oversight.inspection.route_map import RouteMap


def made() -> RouteMap:
    return RouteMap(
        modules={"goal": "kept", "mixture": "", "extra": ""},
        weights={"seen": {"goal": 1, "mixture": 0}, "hidden": {"goal": 0, "mixture": -1}},
        norms={
            "seen": {"goal": 3.0, "mixture": 1.0, "extra": 0.0},
            "hidden": {"goal": 0.0, "mixture": 3.0, "extra": 0.0},
        },
        caption="of a test",
    )


def test_shares_add_up_to_one_at_each_module_that_receives_something() -> None:
    shares = made().shares()
    assert shares["seen"] == {"goal": 1.0, "mixture": 0.25, "extra": 0.0}
    assert shares["hidden"] == {"goal": 0.0, "mixture": 0.75, "extra": 0.0}


def test_an_arrow_stands_for_a_weight_or_for_gradient_that_arrives_without_one() -> None:
    arrows = {(each.route, each.module): each.weight for each in made().arrows()}
    assert arrows == {
        ("seen", "goal"): 1,
        ("seen", "mixture"): 0,  # beside the gates
        ("seen", "extra"): 1.0,  # no target of the table
        ("hidden", "mixture"): -1,
        ("hidden", "extra"): 1.0,
    }


def test_the_drawing_names_every_share_in_words() -> None:
    drawing = made().drawing()
    assert "mixture receives 75% of its gradient from hidden" in drawing.alt
    svg = drawing.inline()
    assert "seen" in svg
    assert "mixture" in svg


@pytest.mark.parametrize("modules", [1, 6])
def test_any_number_of_modules_is_drawn(modules: int) -> None:
    names = [f"module-{number}" for number in range(modules)]
    row = dict.fromkeys(names, 1.0)
    RouteMap(
        modules=dict.fromkeys(names, "a line"), weights={"a": row}, norms={"a": row}, caption=""
    ).drawing().inline()
