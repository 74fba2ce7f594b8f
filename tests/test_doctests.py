"""Every example in a docstring runs; tests/routing runs those of the core."""

import doctest
import importlib
import pkgutil

import pytest

import agents
import configs
import envs
import lm
import oversight

MODULES = [
    module.name
    for package in (agents, configs, envs, lm, oversight)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.startswith("oversight.routing")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name))]
    assert sum(len(test.examples) for test in found) >= 11
