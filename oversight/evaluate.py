"""`python -m oversight.evaluate RUN`: evaluate the policies of a saved run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console
from stable_baselines3.common.policies import ActorCriticPolicy

from agents import MotivationPolicy
from oversight.rl import relearning, swapping
from oversight.rl.agent import task_of
from oversight.rl.config import TrainConfig, require_device
from oversight.rl.evaluation import evaluate_all, load_mixture, policies, results_table
from oversight.rl.own_methods import recorded_method
from oversight.rl.rendering import Screen, draw_in_memory, film
from oversight.rl.result_files import Rule
from oversight.runs import cli
from oversight.runs.folder import RunFolder, read_config, require_file_place, write_json
from oversight.runs.settings import COUNT, SEED, THREADS, require_number


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Evaluate a saved run.

    Nothing in its folder is executed. Modules that its settings name, of an environment or of a
    function, are imported from the path of Python.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    module: str = "all"
    """Policy to evaluate: deployed, the name of a module, mixture, or all."""
    weights: Rule = "last"
    """Weights at the end of training (last), those that did best on held-out observed episodes
    (observed), or those of the best true return (oracle_selection)."""
    oversight_probability: float | None = None
    """Probability that an episode, or in PartialGrid-v0 a terminal square, is observed; by default
    that of training. In AbsentSupervisor-v0 it decides on levels of training alone."""
    seed: int = 1_000_000
    """Seed of levels and actions; a run evaluates itself with the seed of its training."""
    episodes: int | None = None
    """Episodes per policy; by default as many as at the end of training."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the networks; auto takes a GPU if there is one."""
    threads: int = 1
    """CPU threads of PyTorch."""
    render: Path | None = None
    """File for a GIF of the deployed policy next to the proxy module, on the same levels."""
    swap: bool = False
    """Swap, reverse, ablate or randomize the deployed module, and report how often the policy then
    pursues the other goal; where there is no such module, but convolutions, set one of their
    activations instead. Writes swap.json into the folder of the run. A GIF shows the deployed
    policy next to the one after the first intervention."""
    relearn: int | None = None
    """With --swap, also train the deployed policy without oversight for so many environment steps,
    and report after how many it pursues the proxy, next to the same for an ablated motivation and
    for a new network."""
    render_episodes: int = 6
    """Episodes of the GIF."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot run, before anything is loaded or played."""
        require_number("render_episodes", self.render_episodes, COUNT)
        require_number("threads", self.threads, THREADS)
        if self.episodes is not None:
            require_number("episodes", self.episodes, COUNT)
        require_number("seed", self.seed, SEED)
        if self.relearn is not None:
            require_number("relearn", self.relearn, COUNT)
            if not self.swap:
                raise ValueError(
                    f"--relearn {self.relearn} was given without --swap, of which it is a part: "
                    "add --swap, or leave it out"
                )
        if self.swap and self.module != "all":
            raise ValueError(
                f"--swap compares all modules, but --module {self.module} was given: leave it out"
            )
        if self.render is not None:
            if self.render.suffix.lower() != ".gif":
                raise ValueError(f"render writes a GIF: {self.render} must end in .gif")
            require_file_place(self.render, "--render")


def main(args: Sequence[str]) -> None:
    """Evaluate as the arguments say, and print the results."""
    settings = cli.parse(EvaluateConfig, args, "python -m oversight.evaluate")
    require_device(settings.device)
    torch.set_num_threads(settings.threads)
    with recorded_method(RunFolder(settings.run)):
        evaluate_run(settings)


def evaluate_run(settings: EvaluateConfig) -> None:
    """Evaluate a run, whose method is among `METHODS`, and print the results."""
    config = read_config(RunFolder(settings.run), TrainConfig)
    config = replace(config, device=settings.device)
    if settings.oversight_probability is not None:
        config = replace(config, oversight_probability=settings.oversight_probability)
    policy, deployed = load_mixture(RunFolder(settings.run), config, settings.weights)
    if settings.swap:
        evaluate_swap(policy, deployed, config, settings)
        return
    named = policies(policy, deployed)
    chosen = named if settings.module == "all" else {settings.module: pick(named, settings.module)}
    task = task_of(config)
    screen = None
    if settings.render is not None:
        draw_in_memory()
        screen = task.screen()
    episodes = settings.episodes or config.final_episodes
    results = evaluate_all(chosen, config, episodes, settings.seed)
    title = f"{title_of(settings)}, {task.oversight}, seed {settings.seed}"
    Console().print(results_table(title, results, task))
    if screen is not None:
        render(named, screen, settings)


def evaluate_swap(
    policy: MotivationPolicy, deployed: str, config: TrainConfig, settings: EvaluateConfig
) -> None:
    """Evaluate the interventions on the modules of a run, and print and save the results."""
    screen = None
    if settings.render is not None:
        if not swapping.is_exchangeable(policy):
            raise ValueError(
                f"--render {settings.render} was given, but this run has no module to swap, and "
                "retargeting is not shown: leave it out"
            )
        draw_in_memory()
        screen = task_of(config).screen()
    episodes = settings.episodes or config.final_episodes
    results = swapping.swap(policy, deployed, config, episodes, settings.seed)
    title = f"{title_of(settings)}, deployed {deployed}, seed {settings.seed}"
    Console().print(swapping.swap_table(title, results, episodes))
    about = {"weights": settings.weights, "seed": settings.seed, "episodes": episodes}
    written = {**about, "interventions": results}
    if settings.relearn is not None:
        with Console(stderr=True).status("relearning"):
            relearned = relearning.relearn(
                policy, deployed, config, settings.relearn, episodes, settings.seed
            )
        Console().print(relearning.relearning_table(title, relearned, episodes))
        written["relearning"] = relearning.as_data(relearned)
    write_json(settings.run / "swap.json", written)
    if screen is not None:
        changed = swapping.interventions(policy, deployed, settings.seed).chosen
        name, intervened = next(iter(changed.items()))
        write_film({"deployed": policy.alone(deployed), name: intervened}, screen, settings)


def title_of(settings: EvaluateConfig) -> str:
    """Return which weights of which run are evaluated, in words."""
    return f"{settings.run}, weights {settings.weights}"


def pick(named: dict[str, MotivationPolicy], name: str) -> MotivationPolicy:
    """Return the policy of a name.

    Raises:
        ValueError: if there is no such policy.
    """
    if name not in named:
        raise ValueError(f"the run has no module {name!r}: choose from all, {', '.join(named)}")
    return named[name]


def render(named: dict[str, MotivationPolicy], screen: Screen, settings: EvaluateConfig) -> None:
    """Write a film of the deployed policy next to the module that is not deployed."""
    shown: dict[str, ActorCriticPolicy] = {"deployed": named["deployed"]}
    if "proxy" in named:
        shown["proxy module"] = named["proxy"]
    write_film(shown, screen, settings)


def write_film(
    shown: Mapping[str, ActorCriticPolicy], screen: Screen, settings: EvaluateConfig
) -> None:
    """Write a film of policies on the same levels."""
    assert settings.render is not None
    torch.manual_seed(settings.seed)
    film(shown, screen, settings.render_episodes, settings.seed, settings.render)
    Console().out(f"wrote {settings.render}", highlight=False)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
