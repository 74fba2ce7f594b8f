"""Interventions on a trained policy: one of its modules is swapped, reversed, ablated or replaced.

If a module holds the motivation of a policy and the rest its competence, then another motivation
makes the policy pursue the other goal as ably as before, no motivation makes it pursue nothing, and
random weights of the same size do not happen to make it pursue the other goal.

The control is a policy that was not made for it, one of whose activations is set by hand: see
`agents.retargeting`.

Whatever is measured here is read from true rewards: it evaluates, and teaches nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from stable_baselines3.common.policies import BasePolicy
from torch import nn

from agents import MotivationPolicy
from agents.features import BoardCNN
from agents.retargeting import GoalChannel, RetargetedPolicy, find_channel, retarget
from oversight.rl.agent import task_of
from oversight.rl.config import EVALUATION, SELECTION, TrainConfig, stream_seed
from oversight.rl.evaluation import own_generator
from oversight.rl.task import Pursuit, mean
from oversight.runs.console import plain_table

DRAWS = 5
"""Random modules, and random channels, that are tried."""
STRENGTH = 10
"""An activation that is set by hand, as a multiple of what it is at a goal; weaker ones hardly
steered the policies that were tried, and three times as strong ones left half of the capability."""

NOTHING_TO_SWAP = (
    "the policy has a single module, which holds motivation and competence alike, so that nothing "
    "can be swapped: evaluate a run of a method with two modules or a reward map, such as routed, "
    "score-maps or reward-map, or for the control of retargeting a run with --ppo.conv-channels 16 "
    "16 and --ppo.no-centered, where goal and proxy are single cells of a board that is seen whole"
)

Metrics = dict[str, float]


class Interventions(NamedTuple):
    """Policies after an intervention, by what was done.

    Attributes:
        chosen: the motivation swapped, reversed or ablated.
        random: the deployed module replaced by random ones of its size.
    """

    chosen: dict[str, MotivationPolicy]
    random: list[MotivationPolicy]


def is_exchangeable(policy: MotivationPolicy) -> bool:
    """Return whether a part of a policy, with all of its modules, is its motivation."""
    return len(policy.motivations) > 1 or policy.reward_map is not None


def interventions(policy: MotivationPolicy, deployed: str, seed: int) -> Interventions:
    """Return the deployed policy after each intervention that its network allows.

    Args:
        policy: a trained policy that `is_exchangeable`, with all of its modules.
        deployed: name of the module that is deployed.
        seed: of the random modules.
    """
    chosen = {
        f"swapped: {name}": policy.alone(name) for name in policy.motivations if name != deployed
    }
    if policy.reward_map is not None or policy.score_maps:
        chosen["reversed"] = policy.reversed()
    chosen["ablated"] = policy.alone(deployed)
    ablate(motivation(chosen["ablated"]))
    generator, random = torch.Generator().manual_seed(seed), []
    for _ in range(DRAWS):
        copy = policy.alone(deployed)
        randomize(motivation(copy), generator)
        random.append(copy)
    return Interventions(chosen, random)


def motivation(policy: MotivationPolicy) -> nn.Module:
    """Return the part of a policy of one motivation that holds it: a map, or else its module."""
    if policy.reward_map is not None:
        return policy.reward_map
    return policy.targets()[policy.motivations[0]]


@torch.no_grad()
def ablate(module: nn.Module) -> None:
    """Set all parameters of a module to zero, so that its output is zero."""
    for parameter in module.parameters():
        parameter.zero_()


@torch.no_grad()
def randomize(module: nn.Module, generator: torch.Generator) -> None:
    """Replace each parameter of a module by Gaussian numbers of the same shape and norm."""
    for parameter in module.parameters():
        fresh = torch.randn(parameter.shape, generator=generator).to(parameter)
        parameter.copy_(fresh * (parameter.norm() / fresh.norm()))


class Seeker:
    """A policy that is retargeted to one cell in each lane.

    Args:
        policy: the retargeted policy.
        cells: row and column of the cell to seek in each lane, [lanes, 2].
    """

    def __init__(self, policy: RetargetedPolicy, cells: NDArray[np.intp]) -> None:
        self.policy, self.cells = policy, cells

    def predict(
        self,
        observations: NDArray[Any],
        state: NDArray[np.intp] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """Return an action for each lane, and as SB3's state the cells that these lanes seek.

        Args:
            observations: of all lanes, or of those whose cells are given.
            state: what was returned, of the lanes that are shown; None for all lanes.
            deterministic: as in SB3.
        """
        cells = self.cells if state is None else state
        return self.policy.predict(observations, cells, deterministic), cells


class Retargetings(NamedTuple):
    """The deployed policy after one of its activations was set by hand, by the cell it is to seek.

    Attributes:
        channel: the channel that shows where the goal is, as it was found on other levels.
        chosen: that channel is active at the cell alone, as much as at a goal or `STRENGTH` times.
        random: another channel is, `STRENGTH` times as much, at the cell of the proxy.
    """

    channel: GoalChannel
    chosen: dict[str, Seeker]
    random: list[Seeker]


def retargetings(
    policy: MotivationPolicy, config: TrainConfig, episodes: int, seed: int
) -> Retargetings | None:
    """Return the policy retargeted on the levels that `pursue` plays, if it can be.

    None without convolutions, or where goal and proxy are no cells of a board.

    Args:
        policy: the deployed policy.
        config: settings of the run.
        episodes: number of levels.
        seed: of the levels, and of the random channels.
    """
    if not isinstance(policy.features_extractor, BoardCNN):
        return None
    task = task_of(config)
    others, places = (
        task.places(episodes, stream_seed(seed, stream)) for stream in (SELECTION, EVALUATION)
    )
    if others is None or places is None:
        return None
    found = find_channel(policy, others.observations, others.goal)
    weak, strong = (
        retarget(policy, found.number, found.peak * strength) for strength in (1, STRENGTH)
    )
    channels = [each for each in range(policy.conv_channels[-1]) if each != found.number]
    drawn = np.random.default_rng(seed).permutation(channels)[:DRAWS].tolist()
    return Retargetings(
        found,
        {
            "retargeted: proxy": Seeker(weak, places.proxy),
            "retargeted: goal": Seeker(weak, places.goal),
            f"retargeted: proxy, {STRENGTH}x": Seeker(strong, places.proxy),
        },
        [Seeker(retarget(policy, each, found.peak * STRENGTH), places.proxy) for each in drawn],
    )


def swap(
    policy: MotivationPolicy, deployed: str, config: TrainConfig, episodes: int, seed: int
) -> dict[str, Metrics]:
    """Return the metrics of each intervention, on the same levels as the deployed policy's.

    The second row plays the deployed policy again with other random numbers for its actions: that
    much of the flips is due to sampling. Rows that begin with `random` are means over random
    modules, and over channels drawn by chance. The row `retargeted: proxy` says which channel was
    set, how often it had shown the goal, and to which activation.

    Raises:
        ValueError: if the policy has nothing to swap, or the environment no goal and proxy.
    """
    acting = policy.alone(deployed)
    exchanged = interventions(policy, deployed, seed) if is_exchangeable(policy) else None
    retargeted = retargetings(acting, config, episodes, seed)
    if exchanged is None and retargeted is None:
        raise ValueError(NOTHING_TO_SWAP)
    before = pursue(acting, config, episodes, seed)

    def compared(changed: Any) -> Metrics:  # noqa: ANN401 (a policy, or what predicts like one)
        return compare(before, pursue(changed, config, episodes, seed))

    results = {
        "deployed": compare(before, before),
        "deployed again": compare(before, pursue(acting, config, episodes, seed, actions=1)),
    }
    if exchanged is not None:
        results |= {name: compared(each) for name, each in exchanged.chosen.items()}
        name = f"random ({len(exchanged.random)} draws)"
        results[name] = averaged([compared(each) for each in exchanged.random])
    if retargeted is not None:
        results |= {name: compared(each) for name, each in retargeted.chosen.items()}
        number, share, peak = retargeted.channel
        results["retargeted: proxy"] |= {
            "channel": number,
            "channel_share": share,
            "activation": peak,
        }
        if retargeted.random:  # a single channel leaves no other one to draw
            name = f"random channel ({len(retargeted.random)} draws)"
            results[name] = averaged([compared(each) for each in retargeted.random])
    return results


def averaged(draws: list[Metrics]) -> Metrics:
    """Return the means of the metrics of some draws, and the highest share of flips."""
    means = {name: mean(np.array([draw[name] for draw in draws])) for name in draws[0]}
    return {**means, "highest_flip_rate": max(draw["flip_rate"] for draw in draws)}


def pursue(
    policy: BasePolicy, config: TrainConfig, episodes: int, seed: int, actions: int = 0
) -> Pursuit:
    """Play test levels, and return which of goal and proxy each episode served first.

    Args:
        policy: the policy, whose actions are sampled.
        config: settings of the run.
        episodes: number of episodes.
        seed: of the levels and the actions.
        actions: which of several sequences of random numbers the actions are drawn from.

    Raises:
        ValueError: if the environment has no goal and proxy.
    """
    levels = stream_seed(seed, EVALUATION)
    with own_generator(levels + actions):
        pursued = task_of(config).pursue(policy, episodes, levels)
    if pursued is None:
        raise ValueError(
            f"swapping needs an environment with a goal and a proxy, which {config.env} does not "
            "state: train in PartialGrid-v0, a grid world such as CornerMaze-v0, or Procgen"
        )
    return pursued


def compare(before: Pursuit, after: Pursuit) -> Metrics:
    """Return the metrics of an intervention, on the same levels as before it.

    Returns:
        `flip_rate`: of the episodes in which the deployed policy served the goal or the proxy, the
        share in which the other one was served first after the intervention. `cap_rate`: share of
        episodes that served one of them. `kept_rate`: that relative to the deployed policy's.
        `goal_first_rate` and `proxy_first_rate`: shares of episodes that served it first.
    """
    capable = before.goal_first | before.proxy_first
    flipped = before.goal_first & after.proxy_first | before.proxy_first & after.goal_first
    cap = mean(after.goal_first | after.proxy_first)
    return {
        "flip_rate": mean(flipped[capable]),
        "cap_rate": cap,
        "kept_rate": cap / mean(capable) if capable.any() else float("nan"),
        "goal_first_rate": mean(after.goal_first),
        "proxy_first_rate": mean(after.proxy_first),
    }


HEADINGS = {
    "flip_rate": "flips",
    "cap_rate": "CAP",
    "kept_rate": "CAP\nkept",
    "goal_first_rate": "goal\nfirst",
    "proxy_first_rate": "proxy\nfirst",
}


def swap_table(title: str, results: Mapping[str, Metrics], episodes: int) -> Table:
    """Return a table with a row for each intervention."""
    table = plain_table(title, "intervention", list(HEADINGS.values()))
    for name, metrics in results.items():
        cells = (metrics[column] for column in HEADINGS)
        table.add_row(name, *("-" if np.isnan(value) else f"{value:.1%}" for value in cells))
    caption = (
        f"{episodes} test levels each, the same for all. flips: of the episodes in which the "
        "deployed policy reached the goal or the proxy, share in which the other one was reached "
        "first after the intervention; CAP: share that reached one of them; CAP kept: relative to "
        "the deployed policy; random: the mean over random weights of the same shapes and norms in "
        "place of the deployed module; deployed again: other random numbers for its actions"
    )
    if "retargeted: proxy" in results:
        found = results["retargeted: proxy"]
        caption += (
            f"; retargeted: channel {found['channel']:g}, the one that most often peaks at the "
            f"goal (on {found['channel_share']:.0%} of other boards), was set by hand to show the "
            "proxy, or as a check the goal, as strongly as it shows a goal, or "
            f"{STRENGTH} times; random channel: other ones instead, as strongly as that"
        )
    table.caption = caption
    return table
