"""What each module of a trained language model learned: ablations, gradients, tokens and texts.

A module is removed from the trained model, the others stay on, and held-out texts are read with and
without it (`lm.module_effects`). The loss that a token gains by that is its increase.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from lm.branching import make_training
from lm.config import StudyConfig
from lm.finished import FinishedRun, load, read_run
from lm.jobs import jobs_of
from lm.methods import method_of
from lm.models.language_model import LanguageModel
from lm.models.shapes import CORE, LOSS, ORIGINAL, ORIGINAL_PARAMETERS
from lm.module_effects import (
    WHOLE,
    Effect,
    Scores,
    ablations,
    effect,
    pieces,
    readings_of,
    token_text,
)
from lm.pretraining import load_task
from lm.stages import RESULT
from lm.task import UnlearningTask
from lm.training_data import make_training_data
from oversight.inspection.content import Block, Inspection, Passage, Section, Table, Tokens
from oversight.inspection.route_map import RouteMap
from oversight.routing import RouteTable
from oversight.runs.figures import COLORS, MUTED, Drawing, sheet
from oversight.runs.folder import RunFolder, interpreter, read_config, read_json

PERCENTS = (1, 5, 10, 25)
"""The shares of tokens, in percent, whose share of the increase is shown."""
TOP = 15
"""Tokens of each list."""


class LMInspection(NamedTuple):
    """How to inspect a run of `lm.unlearn`."""

    run: Path
    """Folder of the run, within that of its study."""
    texts: int
    """Held-out texts of each section."""
    examples: int
    """Texts that are shown of each module."""


def choose_run(folder: Path, method: str | None, seed: int | None) -> Path:
    """Return the folder of a run: the folder itself, or one of the study in it.

    By default it is the first method whose model has modules, with the first seed.

    Raises:
        ValueError: if there is no such run, or it is not finished.
    """
    if not (folder / "config.json").exists():
        if method is not None or seed is not None:
            raise ValueError(
                f"{folder} is one run, and --method or --study-seed was given: leave them out, or "
                "name the folder of the study"
            )
        return folder
    study = read_config(RunFolder(folder), StudyConfig)
    jobs = jobs_of(study, folder)
    names = list(dict.fromkeys(job.method for job in jobs))
    modular = [name for name in study.trainings if method_of(name).modules is not None]
    chosen = method or next(iter(modular), None)
    if chosen is None:
        raise ValueError(
            f"{folder} is a study without modules, so there is nothing to inspect: its methods are "
            f"{', '.join(names)}; run one such as gram, modules-classified or lora-pair"
        )
    found = [job for job in jobs if job.method == chosen and seed in (None, job.seed)]
    if not found:
        raise ValueError(
            f"{folder} has no run of {chosen}{'' if seed is None else f' with seed {seed}'}: "
            f"choose one of {', '.join(names)}, with seeds {', '.join(map(str, study.seeds))}"
        )
    finished = [job for job in found if (job.folder / RESULT).exists()]
    if not finished:
        raise ValueError(
            f"no run of {chosen} is finished in {folder}: resume the study by python -m lm.unlearn "
            f"--resume {folder}"
        )
    return finished[0].folder


def inspect_run(settings: LMInspection) -> Inspection:
    """Return the inspection of a run of `lm.unlearn`.

    Raises:
        ValueError: if the run is not finished, its weights were removed, or it has no modules.
    """
    run = read_run(settings.run)
    if method_of(run.method).modules is None:
        raise ValueError(
            f"{settings.run} is a run of {run.method}, whose model has no modules, so there is "
            "nothing to inspect: name a run of a method such as gram or modules-classified"
        )
    trained, task = load(run, "trained"), load_task(run.config)
    readings = readings_of(task, run, settings.texts)
    models = {WHOLE: trained, **ablations(trained)}
    scores = {name: readings.scores(model) for name, model in models.items()}
    effects = [
        effect(name, readings, trained, models[f"without {name}"]) for name in trained.module_names
    ]
    route_map = make_route_map(run, task, trained, scores)
    data = {
        "format": 1,
        "kind": "lm",
        "run": str(settings.run),
        "method": run.method,
        "seed": run.seed,
        "texts": settings.texts,
        "route_table": route_map.weights,
        "gradient_norms": route_map.norms,
        "gradient_shares": route_map.shares(),
        "ablation": scores,
        "modules": {each.module: effect_data(each, task) for each in effects},
    }
    command = f"{interpreter()} -m oversight.inspect {settings.run} --texts {settings.texts}"
    return Inspection(
        subject=f"Run {settings.run}, seed {run.seed}",
        title=f"What each module of {run.method} learned",
        findings=findings(scores, effects),
        route_map=route_map,
        sections=[
            Section(
                anchor="ablation",
                title="What is missing without each module",
                lead="Each row is the trained model without one module; the others stay on.",
                blocks=[ablation_table(scores)],
            ),
            localization_section(effects),
            *(module_section(each, task, settings.examples) for each in effects),
        ],
        repeat=f"{command} --examples {settings.examples}",
        about={
            "Method": f"{run.method}: {method_of(run.method).summary}",
            "Commit of the study": _commit(settings.run),
            "Texts": f"{settings.texts} held-out texts of each section",
        },
        data=data,
    )


def make_route_map(
    run: FinishedRun, task: UnlearningTask, model: LanguageModel, scores: Mapping[str, Scores]
) -> RouteMap:
    """Return the routes of a method, and the gradient that each sends to the core and the modules.

    Gradients are those of the trained model on training texts.
    """
    data = make_training_data(run.config, task, run.method, run.seed)
    training = make_training(run.config, task, run.method, run.seed, data)
    norms = training.gradient_norms(model)
    names = {_module_of(target): target for target in next(iter(norms.values()))}
    if CORE in names and ORIGINAL_PARAMETERS in names:
        names["shared"] = names.pop(ORIGINAL_PARAMETERS)
    elif ORIGINAL_PARAMETERS in names:
        names = {CORE: names.pop(ORIGINAL_PARAMETERS)} | names
    return RouteMap(
        modules={name: _line(name, model.module_names, scores) for name in names},
        weights=arrow_weights(training.table, list(norms), names),
        norms={
            route: {name: row[target] for name, target in names.items()}
            for route, row in norms.items()
        },
        caption="Gradients: those of the trained model on texts of training.",
    )


def _module_of(target: str) -> str:
    """Return the name of the module whose parameters a target holds."""
    return target if target == ORIGINAL_PARAMETERS else target.removesuffix("_parameters")


def arrow_weights(
    table: RouteTable, routes: Sequence[str], modules: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Return the weight with which each route teaches each module.

    It is the product of the weights on the way from the loss to the parameters of an expanded MLP:
    that of the loss, that of its activations and that of its parameters.

    Args:
        table: route table of the method.
        routes: the routes.
        modules: the target that holds the parameters of each module.
    """
    rows = table.as_dict()

    def weight(route: str, module: str) -> float:
        activation = ORIGINAL if module in (CORE, "shared") else module
        row = rows[route]
        return row[LOSS] * row.get(activation, 1.0) * row[modules[module]]

    return {route: {module: weight(route, module) for module in modules} for route in routes}


def _line(name: str, modules: Sequence[str], scores: Mapping[str, Scores]) -> str:
    """Return the line below a module's name: what its removal does to the section it is about."""
    if name not in modules:
        return "what stays" if name == CORE else "attention and embeddings"
    before, after = scores[WHOLE], scores[f"without {name}"]
    section = (
        name
        if name in before
        else max(before, key=lambda each: after[each]["loss"] - before[each]["loss"])
    )
    losses_of = f"{before[section]['loss']:.2f} to {after[section]['loss']:.2f}"
    return f"a module\nwithout it, loss on {section} {losses_of}"


def findings(scores: Mapping[str, Scores], effects: Sequence[Effect]) -> list[str]:
    """Return a sentence about the removal of each module."""

    def words(name: str, section: str) -> str:
        before, after = scores[WHOLE][section], scores[name][section]
        facts = (
            f", facts {before['facts']:.0%} to {after['facts']:.0%}" if "facts" in before else ""
        )
        return f"{section}: loss {before['loss']:.2f} to {after['loss']:.2f}{facts}"

    return [
        f"Without {each.module}, "
        + "; ".join(words(f"without {each.module}", section) for section in scores[WHOLE])
        + f". 5% of the tokens carry {each.share_of_top(5):.0%} of the increase."
        for each in effects
    ]


def ablation_table(scores: Mapping[str, Scores]) -> Table:
    """Return the loss and the known facts of each section, with differences from the whole."""
    sections = list(scores[WHOLE])
    measures = list(scores[WHOLE][sections[-1]])

    def cell(name: str, section: str, measure: str) -> str:
        value, whole = scores[name][section].get(measure), scores[WHOLE][section].get(measure)
        if value is None or whole is None:
            return "-"
        facts = measure == "facts"
        own = f"{value:.0%}" if facts else f"{value:.3f}"
        if name == WHOLE:
            return own
        return f"{own}\n{100 * (value - whole):+.0f}" if facts else f"{own}\n{value - whole:+.3f}"

    columns = [(section, measure) for section in sections for measure in measures]
    return Table(
        title="Ablations",
        caption="Loss in nats per token on held-out texts, and share of facts known by multiple "
        "choice. Below each number, its difference from the whole model, of facts in points.",
        names="model",
        columns=[f"{section}\n{measure}" for section, measure in columns],
        rows={name: [cell(name, *column) for column in columns] for name in scores},
    )


def localization_section(effects: Sequence[Effect]) -> Section:
    """Return the share of the increase that few tokens carry, as a figure and a table."""
    known = any(each.of_topic is not None for each in effects)
    table = Table(
        title="Localization",
        caption="Share of the increase of the loss, on the texts that a module is about, that the "
        "most affected tokens carry; tokens whose loss falls do not count."
        + (" Words of the topic: share of the whole change that lies on them." if known else ""),
        names="module",
        columns=[f"top {percent}%" for percent in PERCENTS]
        + (["words of\nthe topic"] if known else []),
        rows={
            each.module: [f"{each.share_of_top(percent):.0%}" for percent in PERCENTS]
            + ([] if each.of_topic is None else [f"{each.of_topic:.0%}"])
            for each in effects
        },
    )
    drawing = Drawing(
        name="localization",
        title="Localization",
        caption="Share of the increase by the share of tokens that carry it, the most affected "
        "first. On the dashed line, all tokens would be affected alike.",
        alt="Curves of the localization of each module; the numbers are in the table below.",
        draw=lambda: _localization_figure(effects),
    )
    return Section(
        anchor="localization",
        title="Where the increase lies",
        lead="A module that holds the knowledge of a topic, and little else, changes the loss of "
        "few tokens: those that this knowledge predicts.",
        blocks=[drawing, table],
    )


def _localization_figure(effects: Sequence[Effect]) -> Figure:
    figure = sheet(2.6, 5.4)
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 100], "--", color=MUTED, lw=0.8)
    for number, each in enumerate(effects):
        rises = each.increase_m.clamp(min=0).sort(descending=True).values
        shares = (rises.cumsum(0) / rises.sum().clamp(min=1e-12) * 100).tolist()
        places = [100 * (place + 1) / len(shares) for place in range(len(shares))]
        axes.plot([0, *places], [0, *shares], color=COLORS[number % len(COLORS)], label=each.module)
    axes.set_xlabel("share of tokens, %")
    axes.set_ylabel("share of the increase, %")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 101)
    axes.legend(loc="lower right", fontsize=8)
    return figure


def module_section(each: Effect, task: UnlearningTask, examples: int) -> Section:
    """Return what a module predicts, and the texts that lose most without it."""
    promoted, suppressed = top_tokens(each, task)
    blocks: list[Block] = [
        Tokens(title="Tokens that it promotes most", tokens=promoted),
        Tokens(title="Tokens that it suppresses most", tokens=suppressed),
    ]
    most = float(each.increase_m.max())
    for text in each.increase_nt.sum(1).argsort(descending=True)[:examples].tolist():
        increase = each.increase_nt[text]
        blocks.append(
            Passage(
                title=f"Loss {float(increase.sum()):+.1f} nats without {each.module}",
                pieces=pieces(each.rows, text, increase, task),
                most=most,
            )
        )
    return Section(
        anchor=f"module-{each.module}",
        title=f"Module {each.module}",
        lead="Logit attribution: what the module adds to the logit of each token by all paths, "
        "relative to the mean over the vocabulary, as a mean over the predicted tokens of the "
        "texts that it is about. Below, the texts whose loss rises most when it is removed, each "
        "token shaded by its rise (orange) or fall (blue).",
        blocks=blocks,
    )


def top_tokens(
    each: Effect, task: UnlearningTask
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Return the tokens that a module promotes most, and those that it suppresses most."""
    attribution = each.attribution_v
    order = attribution.argsort(descending=True).tolist()

    def named(tokens: Sequence[int]) -> list[tuple[str, float]]:
        return [(token_text(token, task), float(attribution[token])) for token in tokens]

    return named(order[:TOP]), named(order[: -TOP - 1 : -1])


def effect_data(each: Effect, task: UnlearningTask) -> dict[str, object]:
    """Return the effect of a module as plain data."""
    promoted, suppressed = top_tokens(each, task)
    return {
        "mean_increase": float(each.increase_m.mean()),
        "increase_of_top_percent": {
            str(percent): each.share_of_top(percent) for percent in PERCENTS
        },
        "increase_on_words_of_topic": each.of_topic,
        "promoted": promoted,
        "suppressed": suppressed,
        "increase_of_texts": each.increase_nt.sum(1).tolist(),
    }


def _commit(run: Path) -> str:
    config = run.resolve().parent.parent / "config.json"
    return str(read_json(config).get("commit") or "unknown") if config.exists() else "unknown"
