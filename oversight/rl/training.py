"""Training: one run in its folder, from its settings or its checkpoint to its summary."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback

from agents import MotivationPolicy, RoutedPPO, VectorEnvAdapter
from agents.checkpoint import State, load_policy, model_bytes, read_state, restore
from oversight.rl.agent import make_agent, task_of
from oversight.rl.callbacks import (
    Checkpoints,
    Evaluations,
    GradientAudit,
    OversightBudget,
    ProgressBar,
    RouteCurves,
)
from oversight.rl.checkpoint_selection import BestCheckpoint, HeldOut, Weights
from oversight.rl.config import HELD_OUT, TrainConfig
from oversight.rl.dashboard import Dashboard, make_logger
from oversight.rl.evaluation import (
    evaluate,
    evaluate_all,
    flag_flip_gap,
    policies,
)
from oversight.rl.own_methods import record_method
from oversight.rl.result_files import Rule
from oversight.rl.task import Metrics
from oversight.runs.folder import (
    RunFolder,
    commit,
    replace_file,
    write_config,
    write_json,
)


class RunState:
    """What a run stores besides its agent: seconds trained, episode counts, selected checkpoints.

    Attributes:
        clock: function that returns the seconds trained so far.
        held_out: counts observed episodes, and selects a checkpoint by held-out ones.
        best: the checkpoint of the best true return.

    Args:
        config: settings of the run.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.clock = stopwatch(0.0)
        task = task_of(config)
        self.held_out = HeldOut(
            lambda episodes: VectorEnvAdapter(task.make_held_out(episodes)),
            config.held_out,
            config.seed,
            limit=task.limit,
        )
        self.best = BestCheckpoint()

    @property
    def selected(self) -> dict[Rule, BestCheckpoint]:
        """The best checkpoint by each rule that selects one."""
        return {"observed": self.held_out.best, "oracle_selection": self.best}

    def get_state(self) -> State:
        """Return the state as it is stored in a checkpoint."""
        chosen = {"observed": self.held_out.get_state(), "oracle_selection": self.best.get_state()}
        return {"seconds": self.clock(), "selection": chosen}

    def set_state(self, state: State) -> None:
        """Restore the state of a checkpoint."""
        self.held_out.set_state(state["selection"]["observed"])
        self.best.set_state(state["selection"]["oracle_selection"])
        self.clock = stopwatch(float(state["seconds"]))


def stopwatch(before: float) -> Callable[[], float]:
    """Return a clock that starts now at `before` seconds."""
    start = time.monotonic() - before
    return lambda: time.monotonic() - start


def train(config: TrainConfig, folder: RunFolder, console: Console | None = None) -> dict[str, Any]:
    """Train a new run, or resume an interrupted one, and return its summary.

    All results go to the run's folder. Without a console nothing is shown, and TensorBoard gets no
    pictures.

    Raises:
        ValueError: if the checkpoint in the folder is damaged, or belongs to another run.
    """
    torch.set_num_threads(config.threads)
    agent, state = make_agent(config), RunState(config)
    restore_checkpoint(agent, state, folder)
    write_config(folder, replace(config, run_dir=None))
    record_method(folder, config.method)
    if console is not None:
        console.out(f"{config.method} on {config.env}, run folder {folder.path}", highlight=False)
    dashboard = Dashboard(folder.path, config, agent.method, agent.num_timesteps)
    interrupted = learn(agent, config, folder, state, dashboard, console)
    summary = {**summarize_run(agent, config, folder, state), "interrupted": interrupted}
    assert agent.env is not None
    agent.env.close()
    if not interrupted:
        dashboard.add_final(summary["eval"], agent.num_timesteps)
    dashboard.close()
    write_json(folder.summary, summary)
    return summary


def restore_checkpoint(agent: RoutedPPO, state: RunState, folder: RunFolder) -> None:
    """Restore the agent and the state of the run from its checkpoint, if there is one.

    Raises:
        ValueError: if the checkpoint is damaged, or does not belong to such a run.
    """
    if not folder.checkpoint.exists():
        return
    try:
        stored = read_state(folder.checkpoint)
        if "agent" not in stored or not isinstance(stored.get("seconds"), float):
            raise ValueError(f"{folder.checkpoint} is not a checkpoint of a training run")
        restore(agent, stored["agent"])
        try:
            state.set_state(stored)
        except Exception as error:  # damaged data can raise anything
            raise ValueError(f"the selection in the checkpoint is damaged: {error!r}") from error
    except ValueError as error:
        raise ValueError(
            f"{error}; remove {folder.checkpoint} to train this run again from its start"
        ) from error


def learn(
    agent: RoutedPPO,
    config: TrainConfig,
    folder: RunFolder,
    state: RunState,
    dashboard: Dashboard,
    console: Console | None,
) -> bool:
    """Train until the end or an interrupt; return whether training was interrupted."""
    agent.set_logger(make_logger(dashboard.learner))
    evaluations = Evaluations(config, dashboard, state.best, pictures=console is not None)
    checkpoints = Checkpoints(folder.checkpoint, config.checkpoint_every, state.get_state)
    budget = OversightBudget(state.held_out, config.eval_every, dashboard.learner)
    callbacks: list[BaseCallback] = [budget, evaluations, checkpoints, RouteCurves()]
    if config.audit:
        callbacks.append(GradientAudit(config.audit_every))
    progress = None
    if console is not None:
        progress = ProgressBar(config.total_timesteps, evaluations, console)
        callbacks.append(progress)
    try:
        left = max(config.total_timesteps - agent.num_timesteps, 0)
        agent.learn(left, callbacks, reset_num_timesteps=False)
        checkpoints.write()
    except KeyboardInterrupt:
        return True
    finally:
        if progress is not None:
            progress.stop()
        checkpoints.restore_signals()
    return False


def summarize_run(
    agent: RoutedPPO, config: TrainConfig, folder: RunFolder, state: RunState
) -> dict[str, Any]:
    """Save the policies and a picture of the modules, evaluate all, and return the results."""
    seconds = state.clock()
    save_models(agent, folder, state.selected)
    named = policies(_policy(agent), agent.method.deployed)
    results = evaluate_all(named, config, config.final_episodes, config.seed)
    picture = task_of(config).picture({n: p for n, p in named.items() if n != "deployed"})
    if picture is not None:
        Image.fromarray(picture).save(folder.module_map)
    return {
        "env": config.env,
        "method": config.method,
        "seed": config.seed,
        "oversight_probability": config.oversight_probability,
        "env_steps": agent.num_timesteps,
        "observed_episodes": state.held_out.learned,
        "held_out_episodes": state.held_out.episodes,
        "wall_seconds": seconds,
        "env_steps_per_second": agent.num_timesteps / seconds,
        "commit": commit(),
        "eval": results,
        "selection": evaluate_checkpoints(agent, config, state.selected),
    }


def save_models(
    agent: RoutedPPO, folder: RunFolder, selected: Mapping[Rule, BestCheckpoint]
) -> None:
    """Save the policy, and one model for each rule that selected a checkpoint.

    The files differ in the weights of the policy only; the optimizer, for example, is in each of
    them as it is at the end of training.
    """
    replace_file(folder.model, model_bytes(agent))
    for rule, best in selected.items():
        if best.weights is not None:
            with temporary_weights(_policy(agent), best.weights):
                replace_file(folder.model_of(rule), model_bytes(agent))


@contextmanager
def temporary_weights(policy: MotivationPolicy, weights: Weights) -> Iterator[None]:
    """Load weights into a policy inside this context, and restore its own afterwards."""
    own = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    load_policy(policy, weights)
    try:
        yield
    finally:
        load_policy(policy, own)


def evaluate_checkpoints(
    agent: RoutedPPO, config: TrainConfig, selected: Mapping[Rule, BestCheckpoint]
) -> dict[str, dict[str, Any]]:
    """Return the metrics of the checkpoint of each rule, on levels that no rule has used.

    A rule that selected no checkpoint, for lack of observed episodes, gets the last one.
    """
    policy = _policy(agent)

    def measure() -> Metrics:
        deployed = policy.alone(agent.method.deployed)
        metrics = evaluate(deployed, config, config.final_episodes, config.seed, HELD_OUT)
        gap = flag_flip_gap(deployed, config, config.eval_episodes, config.seed, HELD_OUT)
        return {**metrics, "flag_flip_gap": gap}

    last = {"step": agent.num_timesteps, "score": None, **measure()}
    results: dict[str, dict[str, Any]] = {"last": last}
    for rule, best in selected.items():
        if best.weights is None:
            results[rule] = {**last}
            continue
        with temporary_weights(policy, best.weights):
            results[rule] = {"step": best.step, "score": best.score, **measure()}
    return results


def _policy(agent: RoutedPPO) -> MotivationPolicy:
    assert isinstance(agent.policy, MotivationPolicy)
    return agent.policy
