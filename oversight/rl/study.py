"""Studies: many runs that are compared, declared before any of them is started."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.methods import method
from oversight.rl.config import TrainConfig, default_values, run_name
from oversight.rl.environment import PARTIAL_GRID
from oversight.runs.cli import Values, choose, override
from oversight.runs.folder import read_json
from oversight.runs.settings import load_object

DEFAULT = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """All combinations of methods, oversight probabilities and seeds, in one variation of a study.

    Attributes:
        methods: names of methods.
        oversight_probabilities: probabilities that a terminal square is overseen.
        seeds: seeds of the runs.
        variation: a word that names how the settings differ from the study's.
        settings: the settings that differ.
    """

    methods: tuple[str, ...]
    oversight_probabilities: tuple[float, ...]
    seeds: tuple[int, ...]
    variation: str = DEFAULT
    settings: Values = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse unknown methods, and variations that do not fit into the name of a folder."""
        for name in self.methods:
            method(name)
        if not re.fullmatch(r"[a-z0-9_.]+", self.variation):
            raise ValueError(
                f"a variation consists of a-z, 0-9, _ and dots, got {self.variation!r}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """The tuning budget, which is the same for all methods.

    Attributes:
        trials: number of trials per method.
        seeds: seeds of the runs of a trial; the study must not report any of them.
        oversight_probability: of the runs of a trial.
        space: lowest and highest value of each tuned setting, drawn log-uniformly.
        total_timesteps: of each run; by default the study's.
    """

    trials: int = 16
    seeds: tuple[int, ...] = (900, 901)
    oversight_probability: float = 0.1
    space: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    total_timesteps: int | None = None

    def __post_init__(self) -> None:
        """Refuse an empty budget or space."""
        if self.trials < 1 or not self.seeds:
            raise ValueError("tuning needs at least one trial and one seed")
        for name, (low, high) in self.space.items():
            if not 0 < low < high:
                raise ValueError(f"the range of {name} must be positive and rise: {low} to {high}")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a study.

    Attributes:
        id: identifies the run and names its folder.
        variation: the variation of its panel.
        config: its settings, without a folder.
    """

    id: str
    variation: str
    config: TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """Runs that are compared: panels that share settings.

    Attributes:
        name: of the study.
        settings: of every run, except its method, oversight probability and seed.
        panels: the runs; one that belongs to several panels is run once.
        environments: by environment, the settings of the runs of those panels whose settings name
            it; of other panels they are `settings`.
        tuned: settings found by tuning, by method; those of a panel override them.
        tuning: the tuning budget.

    Raises:
        ValueError: if the study has no runs, if different runs have the same id, if the study
            reports a seed of tuning, or if there is no such setting to tune.

    >>> panel = Panel(methods=("naive",), oversight_probabilities=(0.1,), seeds=(0, 1))
    >>> [run.id for run in Study(name="small", settings=TrainConfig(), panels=(panel,)).runs()]
    ['naive-p0.1-seed0', 'naive-p0.1-seed1']
    """

    name: str
    settings: TrainConfig
    panels: tuple[Panel, ...]
    environments: Mapping[str, TrainConfig] = field(default_factory=dict)
    tuned: Mapping[str, Values] = field(default_factory=dict)
    tuning: Tuning = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        """Refuse a study that cannot be run as declared."""
        if not self.runs():
            raise ValueError(f"study {self.name} has no runs")
        for name, bounds in self.tuning.space.items():
            for value in bounds:
                override(self.settings, {name: value})
        shared = {seed for panel in self.panels for seed in panel.seeds} & {*self.tuning.seeds}
        if shared:
            raise ValueError(
                f"study {self.name} reports seeds that it is tuned on: {_listed(shared)}; tune on "
                "other seeds"
            )

    def runs(self) -> list[Run]:
        """Return the runs in the order of the panels; seeds vary fastest."""
        found: dict[str, Run] = {}
        for panel in self.panels:
            for run in self._panel(panel):
                if found.setdefault(run.id, run) != run:
                    raise ValueError(
                        f"study {self.name} has two runs {run.id} of different settings: give one "
                        "of their panels another variation"
                    )
        return list(found.values())

    def _panel(self, panel: Panel) -> Iterable[Run]:
        base = self.environments.get(panel.settings.get("env", ""), self.settings)
        for name in panel.methods:
            shared = {**self.tuned.get(name, {}), **panel.settings, "run_dir": None, "method": name}
            for probability in panel.oversight_probabilities:
                for seed in panel.seeds:
                    own = {"oversight_probability": probability, "seed": seed}
                    config = override(base, {**shared, **own})
                    words = () if panel.variation == DEFAULT else (panel.variation,)
                    yield Run(run_name(config, *words), panel.variation, config)


Declaration = Mapping[str, Any]
"""A study as data: settings of all runs, panels, and how methods are tuned."""


def find_study(
    name: str, studies: Mapping[str, tuple[str, Declaration]], env: str | None = None
) -> Study:
    """Return the study of a name, or one's own by `module:name`.

    Args:
        name: of the study, or of the module and the declaration in it.
        studies: a sentence and a declaration by the name of the study.
        env: as for `declare`.

    Raises:
        ValueError: if there is no such study, or it cannot be run as declared.
    """
    if ":" not in name:
        return declare(name, choose(studies, name, "study")[1], env)
    found = load_object(name)
    if not isinstance(found, Mapping):
        raise ValueError(f"study {name!r} must be a mapping as in configs/rl.py, it is {found!r}")
    return declare(name.rpartition(":")[2], found, env)


def declare(name: str, declaration: Declaration, env: str | None = None) -> Study:
    """Return the study of a declaration, as `configs.rl` has them.

    Args:
        name: of the study.
        declaration: `settings` of all runs, by dotted names; `panels`, each with the arguments of
            `Panel`, and those whose settings name another environment on top of its defaults;
            optionally `tuning`, the arguments of `Tuning`, and `tuned`, the path of a file
            that `oversight.tune` wrote, which need not exist yet.
        env: environment that replaces the one of the study, with the default settings of its runs
            and without those that were tuned for the other one.

    Raises:
        ValueError: if the study cannot be run as declared, the file is another one, or an
            environment is given although panels name their own.
    """
    path = None if env is not None else declaration.get("tuned")
    try:
        settings = declaration["settings"]
        panels = tuple(Panel(**panel) for panel in declaration["panels"])
        tuning = Tuning(**declaration.get("tuning", {}))
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"study {name} is not declared as those in configs/rl.py, by settings and panels: "
            f"{type(error).__name__} {error}"
        ) from error
    naming = [panel for panel in panels if "env" in panel.settings]
    named = dict.fromkeys(panel.variation for panel in naming)
    if env is not None and named:
        raise ValueError(
            f"env {env} was given, but the variations of study {name} name their environments: "
            f"leave --env out; oversight.sweep runs a part by --variations {' '.join(named)}"
        )
    own = default_values(settings.get("env", PARTIAL_GRID))
    changed = {} if env is None else {"env": env, **default_values(env)}
    return Study(
        name=name,
        settings=override(TrainConfig(), {**own, **settings, **changed}),
        panels=panels,
        environments={
            each: override(TrainConfig(), {**default_values(each), **settings, "env": each})
            for each in dict.fromkeys(panel.settings["env"] for panel in naming)
        },
        tuned={} if path is None else read_tuned(path),
        tuning=tuning,
    )


def read_tuned(path: Path) -> dict[str, Values]:
    """Return the settings that `oversight.tune` found for each method; none if there is no file.

    Raises:
        ValueError: if `oversight.tune` did not write the file.
    """
    if not path.exists():
        return {}
    try:
        return {name: dict(found["changes"]) for name, found in read_json(path)["methods"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a file that `oversight.tune` wrote") from error


def restrict(
    runs: Sequence[Run],
    methods: Sequence[str] = (),
    oversight_probabilities: Sequence[float] = (),
    seeds: Sequence[int] = (),
    variations: Sequence[str] = (),
) -> list[Run]:
    """Return the runs of these methods, probabilities and so on; an empty sequence means all.

    Raises:
        ValueError: if no run has one of the given values.
    """
    wanted: dict[str, Sequence[Any]] = {
        "method": methods,
        "oversight_probability": oversight_probabilities,
        "seed": seeds,
        "variation": variations,
    }
    for name, values in wanted.items():
        has = dict.fromkeys(_value(run, name) for run in runs)
        unknown = [value for value in values if value not in has]
        if unknown:
            word = name.replace("_", " ")
            raise ValueError(f"the study has no {word} {unknown[0]!r}: choose from {_listed(has)}")
    return [
        run
        for run in runs
        if all(not each or _value(run, name) in each for name, each in wanted.items())
    ]


def _value(run: Run, name: str) -> Any:  # noqa: ANN401
    return run.variation if name == "variation" else getattr(run.config, name)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in sorted(values))
