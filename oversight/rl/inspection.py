"""What each module of a trained agent learned: ablations, gradients, moves and scores.

Whatever is measured here is read from true rewards: it evaluates, and teaches nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy

from agents import MotivationPolicy, RoutedPPO
from agents.boards import ScoreMapFeatures
from agents.checkpoint import load_policy
from agents.gradient_audit import Norms, audit_rollout
from agents.reward_model import RewardModel
from oversight.inspection.content import Block, Inspection, Picture, Section, Table
from oversight.inspection.route_map import RouteMap
from oversight.rl.agent import make_agent, task_of
from oversight.rl.config import EVALUATION, TrainConfig, stream_seed
from oversight.rl.evaluation import load_mixture, metric_cell, own_generator, policies
from oversight.rl.result_files import Rule
from oversight.rl.swapping import ablate
from oversight.rl.task import Metrics
from oversight.rl.training import RunState, restore_checkpoint
from oversight.rl.views import Shown, Values, View, encoded, policy_map, score_map, shown_on
from oversight.runs.folder import RunFolder, interpreter, read_config, read_json

AUDITED = 4096
"""Samples of a rollout on which gradients are measured."""
WHOLE, AGAIN = "whole", "whole, other actions"
"""The policy as it was trained, and the same with other random numbers for its actions."""
PARTS = {
    "shared": "action head and critic",
    "mixture": "how goal and proxy are blended",
    "competence": "how to get somewhere",
    "motivation": "what is wanted",
    "reference": "a second policy, does not act",
    "reward_model": "predicts hidden rewards",
}
"""What parts of a network are for, in words; modules of other names are motivations."""
IN_WORDS = {
    "true_return": "true return",
    "cap_rate": "CAP",
    "gmg_rate": "GMG",
    "diamond_rate": "Diamond",
    "ghost_rate": "Ghost",
}
"""The metrics that the findings name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RLInspection:
    """How to inspect a run of `oversight.train`.

    Attributes:
        run: folder of the run.
        weights: the rule by which its weights were selected.
        episodes: number of episodes of each evaluation.
        seed: of the levels, the actions and the boards that are shown.
    """

    run: Path
    weights: Rule
    episodes: int
    seed: int


def inspect_run(settings: RLInspection) -> Inspection:
    """Return the inspection of a run of `oversight.train`.

    Raises:
        ValueError: if the run has no weights, or they do not fit its settings.
    """
    folder = RunFolder(settings.run)
    config = read_config(folder, TrainConfig)
    policy, deployed = load_mixture(folder, config, settings.weights)
    agent, source = restored(config, folder, policy)
    norms = audit_rollout(agent, AUDITED)
    table = agent.method.table.as_dict()
    without = ablations(policy)
    played = {WHOLE: policy, **without}
    results = {name: measure(each, config, settings) for name, each in played.items()}
    results[AGAIN] = measure(policy, config, settings, actions=1)
    views = task_of(config).views(settings.seed)
    mixed = {WHOLE: policy} if len(policy.module_names) > 1 else {}
    acting = mixed | alone(policy)
    shown = {view.name: shown_on(view, acting) for view in views}
    scores = {view.name: learned_scores(agent, view, folder.checkpoint.exists()) for view in views}
    route_map = RouteMap(
        modules={name: _line(name, deployed, results) for name in _modules(norms, policy)},
        weights=table,
        norms=norms,
        caption=source,
    )
    return Inspection(
        subject=f"Run {settings.run}, {config.method} on {config.env}, seed {config.seed}, "
        f"weights {settings.weights}",
        title=f"What each module of {config.method} learned in {config.env}",
        findings=findings(results),
        route_map=route_map,
        sections=[
            _ablation_section(results, config),
            _gradient_section(route_map),
            *_view_sections(views, shown, scores),
        ],
        repeat=f"{interpreter()} -m oversight.inspect {settings.run} --seed {settings.seed} "
        f"--episodes {settings.episodes} --weights {settings.weights}",
        about=_about(folder, config, agent),
        data={
            "format": 1,
            "kind": "rl",
            "run": str(settings.run),
            "env": config.env,
            "method": config.method,
            "deployed": deployed,
            "weights": settings.weights,
            "seed": settings.seed,
            "episodes": settings.episodes,
            "route_table": table,
            "gradient_norms": norms,
            "gradient_shares": route_map.shares(),
            "ablation": results,
            "views": [_view_data(view, shown[view.name], scores[view.name]) for view in views],
        },
    )


def ablations(policy: MotivationPolicy) -> dict[str, MotivationPolicy]:
    """Return the policy without each of its modules, by the name of what is missing.

    Of two modules, one is removed, so that the other acts alone. Any other part stays with all of
    its parameters 0, so that it writes nothing. What does not act is left out.
    """
    found: dict[str, MotivationPolicy] = {}
    for name in policy.targets():
        if name == "reference":
            continue
        if name in policy.module_names and len(policy.module_names) > 1:
            (other,) = (each for each in policy.module_names if each != name)
            found[f"without {name}"] = policy.alone(other)
        else:
            found[f"without {name}"] = copy = policy.copied()
            ablate(copy.targets()[name])
    return found


def alone(policy: MotivationPolicy) -> dict[str, MotivationPolicy]:
    """Return the policies in which each motivation acts alone, and the reversed one if any."""
    named = policies(policy, policy.motivations[0])
    return {name: each for name, each in named.items() if name not in ("deployed", "mixture")}


def measure(
    policy: BasePolicy, config: TrainConfig, settings: RLInspection, actions: int = 0
) -> Metrics:
    """Return the metrics of a policy on the levels of the inspection.

    Args:
        policy: the policy.
        config: settings of the run.
        settings: how to inspect it.
        actions: which of several sequences of random numbers the actions are drawn from.
    """
    levels = stream_seed(settings.seed, EVALUATION)
    with own_generator(levels + actions):
        return task_of(config).measure(policy, settings.episodes, levels)


def restored(
    config: TrainConfig, folder: RunFolder, policy: MotivationPolicy
) -> tuple[RoutedPPO, str]:
    """Return the agent of a run in its environment, and what its rollout will be, in words.

    Its environment, its reward source and its memory are those of the checkpoint, if there is one;
    its policy has the weights that are inspected.
    """
    agent = make_agent(config)
    words = "in its environment"
    if folder.checkpoint.exists():
        restore_checkpoint(agent, RunState(config), folder)
        words += ", as the checkpoint left it"
    load_policy(agent.policy, policy.state_dict())
    return agent, f"Gradients: {AUDITED:,} samples of a rollout of the trained policy {words}."


def learned_scores(agent: RoutedPPO, view: View, resumed: bool) -> dict[str, Values]:
    """Return what each learned map of rewards says about each cell of a view, [n], by its name.

    A reward model is asked about all steps that lead to a cell, and the mean is returned.

    Args:
        agent: the agent of the run.
        view: the board.
        resumed: whether the agent has the reward source of its checkpoint.
    """
    features = getattr(agent.policy, "features_extractor", None)
    if isinstance(features, ScoreMapFeatures):
        boards = torch.from_numpy(view.observations).to(agent.device)
        return {
            name: features.scores(boards, name)
            .flatten(1)
            .double()
            .mean(0)
            .cpu()
            .numpy()[view.cells]
            for name in features.maps
        }
    source = agent.reward_source
    if isinstance(source, RewardModel) and (resumed or source.predicts_observed):
        came, led = steps_on(view)
        predicted = source.scores(view.observations[came], view.observations[led], view.goals[led])
        counts = np.bincount(led, minlength=len(view.cells))
        sums = np.bincount(led, weights=predicted, minlength=len(view.cells))
        return {"predicted reward": sums / np.maximum(counts, 1)}
    return {}


def steps_on(view: View) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all steps from one cell of a view to a neighboring one: where they begin and end."""
    rows, columns = np.divmod(view.cells, view.columns)
    distance = np.abs(rows[:, None] - rows) + np.abs(columns[:, None] - columns)
    came, led = np.nonzero(distance == 1)
    return came, led


def findings(results: Mapping[str, Metrics]) -> list[str]:
    """Return a sentence about each ablation, and one about how much chance moves the metrics."""
    named = [name for name in IN_WORDS if name in results[WHOLE]]

    def words(metrics: Metrics) -> str:
        return ", ".join(f"{IN_WORDS[name]} {metric_cell(name, metrics[name])}" for name in named)

    sentences = [f"The whole policy: {words(results[WHOLE])}."]
    sentences += [
        f"{name[0].upper()}{name[1:]}: {words(metrics)}."
        for name, metrics in results.items()
        if name not in (WHOLE, AGAIN)
    ]
    chance = results[AGAIN]["true_return"] - results[WHOLE]["true_return"]
    return [*sentences, f"Other random numbers for the actions change the return by {chance:+.3f}."]


def _modules(norms: Norms, policy: MotivationPolicy) -> list[str]:
    """Return the parts of the network in the order of the map: motivations first, shared last."""
    found = dict.fromkeys(name for row in norms.values() for name in row)
    first = [name for name in policy.motivations if name in found]
    others = [name for name in found if name not in (*first, "shared")]
    return [*first, *others, *(["shared"] if "shared" in found else [])]


def _line(name: str, deployed: str, results: Mapping[str, Metrics]) -> str:
    """Return the line below a module's name."""
    removed = results.get(f"without {name}")
    words = PARTS.get(name, "a motivation") + (", deployed" if name == deployed else "")
    if removed is None:
        return words
    change = removed["true_return"] - results[WHOLE]["true_return"]
    return f"{words}\nwithout it, the return changes by {change:+.2f}"


def _ablation_section(results: Mapping[str, Metrics], config: TrainConfig) -> Section:
    task = task_of(config)
    every = {name: value for metrics in results.values() for name, value in metrics.items()}
    headings, whole = task.headings(every), results[WHOLE]

    def cell(row: str, name: str, value: float) -> str:
        own = metric_cell(name, value)
        before = whole.get(name, float("nan"))
        if row == WHOLE or isnan(value) or isnan(before):
            return own
        change = value - before
        return f"{own}\n{100 * change:+.1f}" if name.endswith("_rate") else f"{own}\n{change:+.3f}"

    order = [WHOLE, AGAIN, *(name for name in results if name not in (WHOLE, AGAIN))]
    rows = {
        row: [cell(row, name, results[row].get(name, float("nan"))) for name in headings]
        for row in order
    }
    table = Table(
        title="Ablations",
        caption="Below each number, its difference from the whole policy, of shares in points. "
        + task.caption(every),
        names="policy",
        columns=list(headings.values()),
        rows=rows,
    )
    return Section(
        anchor="ablation",
        title="What is missing without each module",
        lead="Each row is the policy without one of its parts, on the same levels and with the "
        "same random numbers. Of two modules, one is removed, and the other acts alone; of any "
        "other part, all parameters are set to zero. The second row shows what chance does.",
        blocks=[table],
    )


def _gradient_section(route_map: RouteMap) -> Section:
    shares, modules = route_map.shares(), list(route_map.modules)

    def cell(route: str, module: str) -> str:
        norm, weight = route_map.norms[route].get(module), route_map.weights[route].get(module)
        if norm is None:
            return "-"
        words = "" if weight is None else f"\nweight {weight:g}"
        return f"{norm:.4f} ({shares[route][module]:.0%}){words}"

    table = Table(
        title="Gradients",
        caption="Norm of the gradient that the samples of each route send to each module, its "
        "share in the sum over routes, and the weight of the route table. Gradient where the "
        "weight is 0 arrives beside the gates, as the loss that labels the mixture does. Norms of "
        f"different modules are not comparable. {route_map.caption}",
        names="route",
        columns=modules,
        rows={route: [cell(route, module) for module in modules] for route in route_map.routes},
    )
    return Section(anchor="gradients", title="What teaches each module", blocks=[table])


def _view_sections(
    views: Sequence[View],
    shown: Mapping[str, Mapping[str, Shown]],
    scores: Mapping[str, Mapping[str, Values]],
) -> list[Section]:
    """Return the pictures of moves, and those of learned rewards, if there are any."""
    moves: list[Block] = []
    for view in views:
        seen = shown[view.name]
        ends = [(name, each.values[~view.goals]) for name, each in seen.items()]
        ranges = ", ".join(f"{name} {v.min():+.2f} to {v.max():+.2f}" for name, v in ends)
        moves.append(
            Picture(
                name=f"moves-{view.name}",
                title=f"Moves and values, {view.title}",
                caption="Arrows are as long as their moves are probable. Color is what the critic "
                f"expects, from white, the lowest, to blue, the highest: {ranges}.",
                alt=f"Moves of {', '.join(seen)} on {view.title}.",
                png=encoded(policy_map(view, seen)),
            )
        )
    learned: list[Block] = [
        Picture(
            name=f"scores-{view.name}",
            title=f"Learned rewards, {view.title}",
            caption="What a learned map says about arriving on each cell: blue above zero, orange "
            "below.",
            alt=f"Scores of {', '.join(scores[view.name])} on {view.title}.",
            png=encoded(score_map(view, scores[view.name])),
        )
        for view in views
        if scores[view.name]
    ]
    found = []
    if moves:
        found.append(Section(anchor="moves", title="Where each module leads", blocks=moves))
    if learned:
        found.append(Section(anchor="scores", title="What the learned reward says", blocks=learned))
    return found


def _about(folder: RunFolder, config: TrainConfig, agent: RoutedPPO) -> dict[str, str]:
    made = read_json(folder.config)
    return {
        "Method": f"{config.method}: {agent.method.summary}",
        "Environment steps": f"{agent.num_timesteps:,}" if agent.num_timesteps else "unknown",
        "Oversight": task_of(config).oversight,
        "Commit of the run": str(made.get("commit") or "unknown"),
    }


def _view_data(
    view: View, shown: Mapping[str, Shown], scores: Mapping[str, Values]
) -> dict[str, Any]:
    """Return a view and all that is shown on it as plain data."""

    def listed(array: NDArray[Any]) -> Any:  # noqa: ANN401 (nested lists)
        return np.round(array.astype(np.float64), 6).tolist()

    return {
        "name": view.name,
        "columns": view.columns,
        "cells": view.cells.tolist(),
        "values": {name: listed(each.values) for name, each in shown.items()},
        "moves": {name: listed(each.moves) for name, each in shown.items()},
        "scores": {name: listed(each) for name, each in scores.items()},
    }
