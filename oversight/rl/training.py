"""One training run in its folder: from its settings, or its checkpoint, to its summary.

The TensorBoard page of a run: its layout, its settings, and where a resumed run goes on.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from torch.utils.tensorboard.writer import SummaryWriter

from agents import ROUTES, Method, MotivationPolicy, RoutedPPO, VectorEnvAdapter, method
from agents.checkpoint import State, load_policy, model_bytes, read_state, restore
from oversight.rl.callbacks import Checkpoints, Evaluations, OversightBudget, Progress, RouteCurves
from oversight.rl.checkpoint_selection import BestCheckpoint, HeldOut, Weights
from oversight.rl.config import HELD_OUT, TrainConfig, make_agent, make_env
from oversight.rl.evaluation import evaluate, evaluate_all, flag_flip_gap, policies
from oversight.rl.rendering import module_map
from oversight.runs.console import print_line
from oversight.runs.folder import (
    RunFolder,
    as_markdown,
    commit,
    replace_file,
    write_config,
    write_json,
)


def open_writer(
    path: Path, config: TrainConfig, modules: Sequence[str], step: int
) -> SummaryWriter:
    """Return a writer in a run's folder; what a killed run wrote after `step` is dropped."""
    writer = SummaryWriter(str(path), purge_step=step + 1 if step else 0)
    writer.add_custom_scalars(layout(modules, method(config.method)))
    writer.add_text("settings", as_markdown(config), step)
    return writer


def make_logger(writer: SummaryWriter) -> Logger:
    """Return a logger for SB3 on a writer that others share."""
    return Logger(None, [_Output(writer)])


class _Output(TensorBoardOutputFormat):
    """SB3's output on a writer that is there already; its own constructor opens a second file."""

    def __init__(self, writer: SummaryWriter) -> None:
        self.writer = writer
        self._is_closed = False


def layout(modules: Sequence[str], learns: Method) -> dict[str, dict[str, list[object]]]:
    """Return TensorBoard's custom layout: which curves share a chart.

    Args:
        modules: the names of the motivation modules.
        learns: the method, which says what else can act, and what is learned.
    """
    others = {"mixture": len(modules) > 1, "reversed": learns.network.has_reward_map}
    acting = ["deployed", *modules, *(name for name, there in others.items() if there)]
    losses = ["policy_gradient_loss", "value_loss", "entropy_loss"]

    def chart(curve: str) -> list[object]:
        return _multiline([f"eval_{name}/{curve}" for name in acting])

    return {
        "true return of each module (hidden from the learner)": {
            "all episodes": chart("true_return"),
            "episodes that nobody watches": chart("true_return_unobserved"),
            "episodes with an overseen square": chart("true_return_observed"),
            "the paper's return": chart("paper_return"),
        },
        "what the learner saw": {
            "return per episode": _multiline(["rollout/ep_rew_mean"]),
            "episode length": _multiline(["rollout/ep_len_mean"]),
            "share of steps by route": _multiline([f"routing/share_{name}" for name in ROUTES]),
            "share of episodes observed": _multiline(["oversight/observed_fraction"]),
        },
        "optimization": {
            name: _multiline([f"train/{name}"])
            for name in [*losses, *(each.name for each in learns.auxiliary)]
        },
    }


def _multiline(tags: list[str]) -> list[object]:
    """Return a chart of exactly these tags, which TensorBoard takes for regular expressions."""
    return ["Multiline", [f"^{tag}$" for tag in tags]]


class RunState:
    """What a run knows beside its agent: the seconds trained, its counts, and its choices.

    Attributes:
        clock: returns the seconds trained so far.
        held_out: counts observed episodes, and chooses a checkpoint by the held-out ones.
        oracle_selection: the checkpoint of the best true return.

    Args:
        config: the settings of the run.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.clock = stopwatch(0.0)
        self.held_out = HeldOut(
            lambda lanes: VectorEnvAdapter(make_env(config, lanes, reward="observed")),
            config.held_out,
            config.seed,
            limit=config.grid.horizon,
        )
        self.best = BestCheckpoint()

    def get_state(self) -> State:
        """Return what a checkpoint holds of it."""
        chosen = {"observed": self.held_out.get_state(), "oracle_selection": self.best.get_state()}
        return {"seconds": self.clock(), "selection": chosen}

    def set_state(self, state: State) -> None:
        """Go on from a checkpoint."""
        self.held_out.set_state(state["selection"]["observed"])
        self.best.set_state(state["selection"]["oracle_selection"])
        self.clock = stopwatch(float(state["seconds"]))


def train(config: TrainConfig, folder: RunFolder, console: Console | None = None) -> dict[str, Any]:
    """Train a new run, or go on with one that was stopped, and return its summary.

    Everything goes to the run's folder. Without a console nothing is shown, and no pictures are
    written to TensorBoard.

    Raises:
        ValueError: if the folder's checkpoint is damaged, or of another run.
    """
    torch.set_num_threads(config.threads)
    agent, past = make_agent(config), RunState(config)
    resume(agent, past, folder)
    write_config(folder, replace(config, run_dir=None))
    if console is not None:
        start = f"{config.method} on {config.env}, run folder {folder.path}"
        print_line(console, start)
    interrupted = learn(agent, config, folder, past, console)
    summary = {**summarize_run(agent, config, folder, past), "interrupted": interrupted}
    write_json(folder.summary, summary)
    agent.logger.close()
    return summary


def resume(agent: RoutedPPO, past: RunState, folder: RunFolder) -> None:
    """Put the agent and its past where the run's checkpoint was written, if there is one.

    Raises:
        ValueError: if it is damaged, or not one of such a run.
    """
    if not folder.checkpoint.exists():
        return
    state = read_state(folder.checkpoint)
    if "agent" not in state or not isinstance(state.get("seconds"), float):
        raise ValueError(f"{folder.checkpoint} is not a checkpoint of a training run")
    restore(agent, state["agent"])
    try:
        past.set_state(state)
    except Exception as error:  # there is no end to what damaged data can raise
        raise ValueError(f"the checkpoint's choices are damaged: {error!r}") from error


def learn(
    agent: RoutedPPO,
    config: TrainConfig,
    folder: RunFolder,
    past: RunState,
    console: Console | None,
) -> bool:
    """Train to the end, or to an interrupt; return whether it was one."""
    writer = open_writer(folder.path, config, agent.method.modules, agent.num_timesteps)
    agent.set_logger(make_logger(writer))
    evaluations = Evaluations(config, writer, past.best, pictures=console is not None)
    checkpoints = Checkpoints(folder.checkpoint, config.checkpoint_every, past.get_state)
    budget = OversightBudget(past.held_out, config.eval_every, writer.add_scalar)
    callbacks: list[BaseCallback] = [budget, evaluations, checkpoints, RouteCurves()]
    progress = None
    if console is not None:
        progress = Progress(config.total_timesteps, evaluations, console)
        callbacks.append(progress)
    try:
        left = config.total_timesteps - agent.num_timesteps
        agent.learn(left, callbacks, reset_num_timesteps=False)
        checkpoints.write()
    except KeyboardInterrupt:
        return True
    finally:
        if progress is not None:
            progress.stop()
        checkpoints.restore_signals()
    return False


def stopwatch(before: float) -> Callable[[], float]:
    """Return a clock that starts now at `before` seconds."""
    start = time.monotonic() - before
    return lambda: time.monotonic() - start


def summarize_run(
    agent: RoutedPPO, config: TrainConfig, folder: RunFolder, past: RunState
) -> dict[str, Any]:
    """Save the policy, what was chosen, and a picture; measure all, and return the results."""
    seconds = past.clock()
    chosen = {"observed": past.held_out.best, "oracle_selection": past.best}
    save_models(agent, folder, chosen)
    named = policies(_policy(agent), agent.method.deployed)
    results = evaluate_all(named, config, config.final_episodes, config.seed)
    picture = module_map({n: p for n, p in named.items() if n != "deployed"}, config.grid)
    Image.fromarray(picture).save(folder.module_map)
    return {
        "env": config.env,
        "method": config.method,
        "seed": config.seed,
        "oversight_probability": config.oversight_probability,
        "env_steps": agent.num_timesteps,
        "observed_episodes": past.held_out.learned,
        "held_out_episodes": past.held_out.episodes,
        "wall_seconds": seconds,
        "env_steps_per_second": agent.num_timesteps / seconds,
        "commit": commit(),
        "eval": results,
        "selection": evaluate_checkpoints(agent, config, chosen),
    }


def save_models(agent: RoutedPPO, folder: RunFolder, chosen: Mapping[str, BestCheckpoint]) -> None:
    """Save the policy, and with the weights that each rule kept, if any, in a file of its own.

    All but the weights, such as the optimizer, is in each file as it is at the end of training.
    """
    replace_file(folder.model, model_bytes(agent))
    for rule, kept in chosen.items():
        if kept.weights is not None:
            with temporary_weights(_policy(agent), kept.weights):
                replace_file(folder.model_of(rule), model_bytes(agent))


@contextmanager
def temporary_weights(policy: MotivationPolicy, weights: Weights) -> Iterator[None]:
    """Give a policy other weights, and in the end its own again."""
    own = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    load_policy(policy, weights)
    try:
        yield
    finally:
        load_policy(policy, own)


def evaluate_checkpoints(
    agent: RoutedPPO, config: TrainConfig, chosen: Mapping[str, BestCheckpoint]
) -> dict[str, dict[str, Any]]:
    """Return the metrics of what each rule would deploy, on levels that nothing was chosen by.

    A rule that kept nothing, for want of observed episodes, deploys the last checkpoint.
    """
    policy = _policy(agent)

    def measure() -> dict[str, float | int]:
        deployed = policy.alone(agent.method.deployed)
        metrics = evaluate(deployed, config, config.final_episodes, config.seed, HELD_OUT)
        gap = flag_flip_gap(deployed, config, config.eval_episodes, config.seed, HELD_OUT)
        return {**metrics, "flag_flip_gap": gap}

    steps = agent.num_timesteps
    judged: dict[str, dict[str, Any]] = {"last": {"step": steps, "score": None, **measure()}}
    for rule, kept in chosen.items():
        if kept.weights is None:
            judged[rule] = {**judged["last"]}
            continue
        with temporary_weights(policy, kept.weights):
            judged[rule] = {"step": kept.step, "score": kept.score, **measure()}
    return judged


def _policy(agent: RoutedPPO) -> MotivationPolicy:
    assert isinstance(agent.policy, MotivationPolicy)
    return agent.policy
