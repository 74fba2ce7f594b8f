"""`parameters_of`: each parameter once, and never none."""

import pytest
from torch import nn

from oversight.routing import parameters_of


def test_parameters_come_once_and_in_order() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    expected = [first.bias, second.weight, second.bias, first.weight]
    given = parameters_of([first.bias, [second, second.bias], first])
    assert [id(parameter) for parameter in given] == [id(parameter) for parameter in expected]


def test_a_generator_serves_once() -> None:
    parameters = nn.Linear(1, 1).parameters()
    assert len(parameters_of(parameters)) == 2
    with pytest.raises(ValueError, match=r"holds no parameter: .*can be read only once"):
        parameters_of(parameters)
