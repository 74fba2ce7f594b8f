"""`python -m lm.profiles`: serve, titrate and export the capability profiles of a finished run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from lm.finished import FinishedRun, load, read_run
from oversight.runs import cli
from oversight.runs.console import plain_table

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lm.models.language_model import LanguageModel
    from lm.task import UnlearningTask

PROGRAM = "python -m lm.profiles"
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Weights of a module that is titrated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfilesConfig:
    """Serve the capability profiles of a finished run of `python -m lm.unlearn`.

    A profile is the set of modules that are on. By default, losses and facts of all profiles are
    listed; of methods without modules, those of their only one.
    """

    run: Positional[Path]
    """Folder of the run, such as runs/unlearn/x/runs/gram-seed0."""
    profile: tuple[str, ...] | None = None
    """Modules that are on, of the one profile to serve; without a name, none is."""
    weights: tuple[str, ...] = ()
    """Weights of modules of that profile, as in forest=0.5; 1 by default."""
    titrate: str | None = None
    """Module whose weight rises from 0 to 1 in the profiles to list."""
    export: Path | None = None
    """New folder for that profile, as a plain model of Hugging Face with its tokenizer."""

    def __post_init__(self) -> None:
        if self.export is not None and self.titrate is not None:
            raise ValueError("--export and --titrate were given: one profile is exported at a time")
        if self.export is not None and self.profile is None and not self.weights:
            raise ValueError("--export was given without a profile: name its modules by --profile")
        if self.export is not None and self.export.exists():
            raise ValueError(f"--export {self.export} exists: name a new folder")
        scales(self.weights)


def scales(weights: Sequence[str]) -> dict[str, float]:
    """Return the weights of modules by name.

    Raises:
        ValueError: if one is not written as module=weight, or a module is named twice.

    >>> scales(["forest=0.5", "sea=1"])
    {'forest': 0.5, 'sea': 1.0}
    """
    found: dict[str, float] = {}
    for each in weights:
        name, equals, value = each.partition("=")
        try:
            weight = float(value)
        except ValueError:
            equals, weight = "", 0.0
        if not equals or not name or name in found:
            raise ValueError(
                f"--weights {' '.join(weights)} were given: write each module once, as in "
                "forest=0.5"
            )
        found[name] = weight
    return found


def modules_on(names: Sequence[str], weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return the modules of a profile: those that are named, and others that have a weight."""
    return (*names, *(name for name in weights if name not in names))


def main(args: Sequence[str]) -> None:
    """List the profiles that the arguments name, or export one."""
    settings = cli.parse(ProfilesConfig, args, PROGRAM)
    run = read_run(settings.run)
    from lm.pretraining import load_task  # noqa: PLC0415 (slow to import)

    task, console = load_task(run.config), Console()
    if settings.export is not None:
        plain = plain_model(serve(run, settings.profile or (), scales(settings.weights)), task)
        export(plain, tokenizer_of(run, task), settings.export)
        console.out(f"exported:  {settings.export}", highlight=False)
        return
    console.print(profiles_table(run, task, settings))


def serve(
    run: FinishedRun, names: Sequence[str], weights: Mapping[str, float] | None = None
) -> "LanguageModel":
    """Return the model of a run that serves a profile, on the CPU.

    Args:
        run: the run.
        names: the modules that are on; modules with a weight are on as well.
        weights: weights of modules by name; 1 by default.

    Raises:
        ValueError: if the run has no such modules, a weight is not between 0 and 1, or the weights
            of the run are no longer there.
    """
    from lm.serving import has_modules, trained_topics  # noqa: PLC0415 (slow to import)

    weights = dict(weights or {})
    on = modules_on(names, weights)
    trained = load(run, "trained")
    if has_modules(run.method, trained):
        return trained.profile(*on, weights=weights)
    own = trained_topics(run.method, run.config.task.forget)
    if weights or set(on) != set(own):
        raise ValueError(
            f"a profile of {', '.join(on) or 'no module'} was asked of {run.method}, which has no "
            f"modules: its only profile is --profile {' '.join(own)}".rstrip()
        )
    return load(run, "ablated")


def plain_model(model: "LanguageModel", task: "UnlearningTask") -> "PreTrainedModel":
    """Return a model as `transformers` loads it, with its modules merged: the model to serve."""
    from lm.models.gpt import GPT  # noqa: PLC0415 (slow to import)
    from lm.models.gpt_export import to_causal_lm  # noqa: PLC0415
    from lm.models.hf import RoutedCausalLM, contract  # noqa: PLC0415

    if isinstance(model, GPT):
        return to_causal_lm(model, task.end)
    assert isinstance(model, RoutedCausalLM)
    return contract(model)


def tokenizer_of(run: FinishedRun, task: "UnlearningTask") -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a run's models."""
    from lm.models.gpt_export import to_pretrained_tokenizer  # noqa: PLC0415 (slow to import)
    from lm.models.hf_loading import load_tokenizer  # noqa: PLC0415
    from lm.task import DocumentTask, StoryTask  # noqa: PLC0415

    if run.config.model is not None:
        return load_tokenizer(run.config.model, run.config.gguf_file)
    if isinstance(task, DocumentTask):
        return task.tokenizer
    assert isinstance(task, StoryTask)
    return to_pretrained_tokenizer(task.tokenizer, task.end)


def export(plain: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Write a plain model with its tokenizer to a new folder.

    Raises:
        ValueError: if the folder cannot be written.
    """
    from lm.models.hf_loading import save_pretrained  # noqa: PLC0415 (slow to import)

    folder.parent.mkdir(parents=True, exist_ok=True)
    save_pretrained(plain, tokenizer, folder)


Profile = tuple[tuple[str, ...], dict[str, float]]
"""The modules that are on, and the weights of some of them."""


def chosen_profiles(run: FinishedRun, settings: ProfilesConfig) -> Iterator[Profile]:
    """Yield the profiles that the settings name: one, those of a titration, or all."""
    from lm.serving import has_modules, subsets, trained_topics  # noqa: PLC0415 (slow to import)

    weights = scales(settings.weights)
    on = modules_on(settings.profile or (), weights)
    if settings.titrate is not None:
        for weight in STEPS:
            scaled = weights | {settings.titrate: weight}
            yield modules_on(on, scaled), scaled
    elif settings.profile is not None or weights:
        yield on, weights
    elif has_modules(run.method, trained := load(run, "trained")):
        yield from ((names, {}) for names in subsets(trained.module_names))
    else:
        yield trained_topics(run.method, run.config.task.forget), {}


def profiles_table(run: FinishedRun, task: "UnlearningTask", settings: ProfilesConfig) -> Table:
    """Return the loss and the known facts of the core and of each topic, a row for each profile.

    Raises:
        ValueError: if the run is of documents, which have no topics.
    """
    from lm.evaluation.topic_exam import examine_topics, make_topic_exam  # noqa: PLC0415
    from lm.models.hf import RoutedCausalLM  # noqa: PLC0415 (slow to import)
    from lm.task import StoryTask  # noqa: PLC0415

    if not isinstance(task, StoryTask):
        raise ValueError(
            f"{run.folder} is a run on documents, which have no topics to list: give --export"
        )
    exam = make_topic_exam(task, run.seed, run.config.exam)
    table = plain_table(f"profiles of {run.method}, seed {run.seed}", "on", exam.sections)
    for on, weights in chosen_profiles(run, settings):
        model = RoutedCausalLM(plain_model(serve(run, on, weights), task))
        found = examine_topics(model, exam)
        cells = (f"{each['loss']:.3f} {each['facts']:4.0%}" for each in found.values())
        table.add_row(profile_name(on, weights), *cells)
    table.caption = (
        "Loss in nats per token on held-out stories, and share of facts known, by multiple choice: "
        "25% by guessing. core: all topics that are not to be forgotten"
    )
    return table


def profile_name(on: Sequence[str], weights: Mapping[str, float]) -> str:
    """Return the name of a profile.

    >>> profile_name(["forest", "sea"], {"sea": 0.5}), profile_name([], {})
    ('forest + 0.5 sea', 'none')
    """
    named = [f"{weights[name]:g} {name}" if name in weights else name for name in on]
    return " + ".join(named) or "none"


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
