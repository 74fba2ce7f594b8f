"""Every example in a docstring runs, and every public name of the routing core has one."""

import doctest
import importlib
import pkgutil

import torch

import agents
import configs
import envs
import lm
import oversight
from oversight import routing

MODULES = [
    module.name
    for package in (agents, configs, envs, lm, oversight)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]
CORE = {
    "torch": torch,
    "nn": torch.nn,
    **{name: getattr(routing, name) for name in routing.__all__},
}
"""Names that the examples of the core take for granted."""


def test_docstring_examples_pass() -> None:
    failed, attempted = {}, {}
    for name in MODULES:
        given = CORE if name.startswith("oversight.routing") else None
        result = doctest.testmod(importlib.import_module(name), extraglobs=given)
        failed[name], attempted[name] = result.failed, result.attempted
    assert {name: count for name, count in failed.items() if count} == {}
    assert sum(attempted.values()) >= 30
    core = [module.name for module in pkgutil.iter_modules(routing.__path__)]
    assert [name for name in core if not attempted[f"oversight.routing.{name}"]] == []


def test_public_names_of_routing_have_examples() -> None:
    documented = {name: getattr(routing, name).__doc__ or "" for name in routing.__all__}
    assert {name for name, text in documented.items() if ">>> " not in text} == {"Part"}
