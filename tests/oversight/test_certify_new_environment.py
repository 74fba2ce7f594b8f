"""An environment outside of the library can be wrapped, trained in and certified."""

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents import RoutedPPO
from envs import PartialOversight
from oversight import certify as command
from oversight.runs import cli
from tests.oversight.tank import Tank

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "certificate.md"
LONGEST = 20  # lines


def snippet() -> list[str]:
    """Return the lines of the page's example of a custom environment, without prompts."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (block,) = [each for each in blocks if "certify(" in each]
    return [line[4:] for line in block.splitlines() if line.startswith((">>> ", "... "))]


def test_example_of_page_works_for_another_environment() -> None:
    lines = snippet()
    assert len(lines) <= LONGEST
    first = next(number for number, line in enumerate(lines) if line.startswith("class "))
    body = [line for line in lines[first + 1 :] if not line.startswith(" ")]
    known: dict[str, Any] = {
        **{"gym": gym, "np": np, "PartialOversight": PartialOversight, "RoutedPPO": RoutedPPO},
        "Line": lambda: gym.make("tests.oversight.tank:Tank-v0"),
    }
    *statements, last = lines[:first] + body
    exec("\n".join(statements), known)
    assert eval(last, known) is True
    agent = known["agent"]
    assert agent.num_timesteps >= 1024
    assert agent.observation_space == Tank().observation_space
    weights = torch.cat([each.flatten() for each in agent.policy.parameters()])
    assert torch.isfinite(weights).all()


@pytest.mark.parametrize("wrapper", ["vector", "single"])
def test_certify_accepts_an_unknown_environment(
    wrapper: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--env", "tests.oversight.tank:Tank-v0", "--wrapper", wrapper, "--steps", "512")
    small = ("--num-envs", "4", "--ppo.n-steps", "32", "--ppo.batch-size", "64")
    assert cli.run(command.main, [*flags, *small]) == 0
    assert "certified: " in capsys.readouterr().out
