"""Every example in the docstrings of the applications runs."""

import doctest
import importlib
import pkgutil

import pytest

import oversight

MODULES = [
    module.name
    for module in pkgutil.walk_packages(oversight.__path__, "oversight.")
    if not module.name.startswith("oversight.routing")  # tests/routing runs those
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name))]
    assert sum(len(test.examples) for test in found) >= 3
