"""Every example in the package runs, and every public name has one."""

import doctest
import importlib
import pkgutil

import pytest
import torch

from oversight import routing

MODULES = [f"oversight.routing.{module.name}" for module in pkgutil.iter_modules(routing.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    names = {"torch": torch, "nn": torch.nn, **{n: getattr(routing, n) for n in routing.__all__}}
    failures, examples = doctest.testmod(importlib.import_module(name), extraglobs=names)
    assert examples > 0
    assert failures == 0


@pytest.mark.parametrize("name", sorted(set(routing.__all__) - {"Part"}))
def test_a_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (getattr(routing, name).__doc__ or "")
