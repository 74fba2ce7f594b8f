"""Relearning the proxy: which weights learn, from what, and when it counts as relearned."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import MotivationPolicy, method
from oversight.rl import relearning
from oversight.rl.agent import task_of
from oversight.rl.config import TrainConfig
from oversight.rl.evaluation import load_mixture
from oversight.rl.relearning import Checkpoint, make_proxy_learner, proxy_method, relearning_steps
from oversight.rl.swapping import motivation, pursue
from oversight.rl.task import Pursuit
from oversight.runs.folder import RunFolder, read_config
from tests.agents.factories import weights
from tests.oversight.rl.test_world_task import OPEN_ROOM, Walker, world_config
from tests.oversight.rl.trained_runs import ROLLOUT, run_evaluate
from tests.oversight.runs.refusals import Capture, refused

MAPS = ("routed", "reward-map", "score-maps")
"""Methods whose motivations are modules, a map of rewards, and maps of scores."""


def loaded(folder: Path) -> tuple[MotivationPolicy, str, TrainConfig]:
    """Return the policy of a run, the name of its deployed module, and its settings."""
    config = read_config(RunFolder(folder), TrainConfig)
    return *load_mixture(RunFolder(folder), config), config


def test_proxy_is_relearned_at_half_of_the_episodes_and_of_the_capability() -> None:
    before = Checkpoint(0, 0.8, 0.0)
    weak, mixed, good = Checkpoint(8, 0.3, 1.0), Checkpoint(16, 0.9, 0.4), Checkpoint(32, 0.4, 0.5)
    assert relearning_steps([before, weak, mixed], before) is None
    assert relearning_steps([before, weak, mixed, good], before) == 32
    nothing = relearning.checkpoint(0, Pursuit(np.zeros(4, np.bool_), np.zeros(4, np.bool_)))
    assert relearning_steps([nothing], nothing) is None
    table = relearning.relearning_table("", {"deployed": [nothing]}, 4)
    assert list(table.columns[1].cells) == ["-\n0%"]
    half = relearning.checkpoint(8, Pursuit(np.array([1, 0, 0]) > 0, np.array([0, 1, 0]) > 0))
    assert half == (8, 2 / 3, 0.5)


def test_hidden_episodes_pay_the_proxy_and_nothing_is_observed() -> None:
    for observer in (None, "EpisodeCoin(1)"):
        settings = {"env_kwargs": OPEN_ROOM, "oversight_probability": 1.0, "observer": observer}
        config = relearning.without_oversight(world_config("ColorShape-v0", **settings))
        assert not config.ppo.anneal
        for channel, pays in (("yellow", True), ("ball", False)):
            env, walker, paid = task_of(config).make_env(50, "observed"), Walker(channel), []
            observations, _ = env.reset(seed=0)
            for _ in range(30):
                observations, rewards, *_, infos = env.step(walker.predict(observations, False)[0])
                assert not infos["observed"].any()
                paid.append(rewards)
            assert (np.sum(paid, axis=0) > 0).all() == pays


@pytest.mark.parametrize("name", [*MAPS, "naive", "motivated", "kl"])
def test_every_part_of_the_deployed_policy_learns_from_hidden_episodes(
    run_of: Callable[[str], Path], name: str
) -> None:
    policy, deployed, config = loaded(run_of(name))
    chosen = proxy_method(policy, deployed, method(name))
    assert {weight for row in chosen.table.as_dict().values() for weight in row.values()} == {1.0}
    agent = make_proxy_learner(chosen, relearning.without_oversight(config), seed=0)
    own = relearning.learned(agent)
    assert own.state_dict().keys() == policy.alone(deployed).state_dict().keys()
    before = weights(own)
    agent.learn(4 * ROLLOUT)
    changed = {key for key, tensor in weights(own).items() if not torch.equal(tensor, before[key])}
    assert changed >= {key for key, _ in own.named_parameters()}


@pytest.mark.parametrize("name", MAPS)
def test_ablated_policy_has_the_motivation_of_the_new_network_and_else_its_own(
    run_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    policy, deployed, config = loaded(run_of(name))
    seen: list[dict[str, torch.Tensor]] = []

    def watched(each: MotivationPolicy, *args: Any) -> Pursuit:  # noqa: ANN401
        seen.append(weights(each))
        return pursue(each, *args)

    monkeypatch.setattr(relearning, "pursue", watched)
    results = relearning.relearn(policy, deployed, config, 2 * ROLLOUT, 8, seed=5)
    steps = [[each.steps for each in training] for training in results.values()]
    assert steps == [[0, ROLLOUT, 2 * ROLLOUT]] * 3
    before = dict(zip(results, seen[::3], strict=True))
    alone = policy.alone(deployed)
    inside = {tensor.data_ptr() for tensor in motivation(alone).state_dict().values()}
    for key, tensor in alone.state_dict().items():
        assert torch.equal(before["deployed"][key], tensor)
        source = "new network" if tensor.data_ptr() in inside else "deployed"
        assert torch.equal(before["ablated"][key], before[source][key])
    for source in ("deployed", "new network"):
        other = before[source]
        assert any(not torch.equal(tensor, other[key]) for key, tensor in before["ablated"].items())


def test_swap_writes_how_fast_the_proxy_is_relearned(
    run_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_of("score-maps")
    assert run_evaluate(folder, "--swap", "--relearn", ROLLOUT + 1, "--episodes", "16") == 0
    stored = folder / "swap.json"
    found = json.loads(stored.read_text())["relearning"]
    stored.unlink()  # other tests read the folder
    assert list(found) == ["deployed", "ablated", "new network"]
    for training in found.values():
        assert [each["steps"] for each in training["checkpoints"]] == [0, ROLLOUT, 2 * ROLLOUT]
        assert training["relearning_steps"] in (None, 0, ROLLOUT, 2 * ROLLOUT)
    assert "relearned" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--relearn 8", "--relearn 8 was given without --swap"),
        ("--swap --relearn 0", "relearn 0 was given: give a whole number, 1 or more"),
        ("--swap --relearn many", "'many'"),
    ],
)
def test_relearning_is_refused_in_one_line(
    capsys: Capture, run_of: Callable[[str], Path], flags: str, words: str
) -> None:
    assert words in refused(capsys, run_evaluate, run_of("routed"), *flags.split())
