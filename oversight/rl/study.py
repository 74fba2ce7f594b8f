"""A study: which runs it consists of, declared before any of them is started."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agents.methods import method
from oversight.rl.config import TrainConfig

Changes = Mapping[str, Any]
"""Settings by their dotted names, such as `ppo.learning_rate`, and their values."""

DEFAULT = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Every method at every oversight probability from every seed, in one variation of a study.

    Attributes:
        methods: names of methods.
        oversight_probabilities: probabilities that a terminal square is overseen.
        seeds: of the runs.
        variation: a word for what is changed.
        changes: settings that differ from the study's.
    """

    methods: tuple[str, ...]
    oversight_probabilities: tuple[float, ...]
    seeds: tuple[int, ...]
    variation: str = DEFAULT
    changes: Changes = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse unknown methods, and words that no folder should have in its name."""
        for name in self.methods:
            method(name)
        if not re.fullmatch(r"[a-z0-9_.]+", self.variation):
            raise ValueError(
                f"a variation is a word of a-z, 0-9, _ and dots, got {self.variation!r}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """How much tuning every method gets, the same for all.

    Attributes:
        trials: settings tried of each method.
        seeds: of the runs of a trial; none may be a seed that the study reports.
        oversight_probability: at which it is done.
        space: from a setting's dotted name to the lowest and highest value, drawn in logarithms.
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
        id: names it, and its folder.
        variation: of the panel that it belongs to.
        config: its settings, without a folder.
    """

    id: str
    variation: str
    config: TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """Runs that are compared: panels on common settings.

    Attributes:
        name: a word for it.
        settings: what every run has, but for its method, oversight probability and seed.
        panels: what is run; a run that several of them name is run once.
        tuned: by method, settings found by tuning; a panel's changes come after them.
        tuning: how they are found.

    Raises:
        ValueError: if it has no runs, if two different runs have one id, if a seed of tuning is
            reported, or if there is no such setting to tune.

    >>> panel = Panel(methods=("naive",), oversight_probabilities=(0.1,), seeds=(0, 1))
    >>> [run.id for run in Study(name="small", settings=TrainConfig(), panels=(panel,)).runs()]
    ['naive-p0.1-seed0', 'naive-p0.1-seed1']
    """

    name: str
    settings: TrainConfig
    panels: tuple[Panel, ...]
    tuned: Mapping[str, Changes] = field(default_factory=dict)
    tuning: Tuning = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        """Refuse a study that cannot be run as it is declared."""
        if not self.runs():
            raise ValueError(f"study {self.name} has no runs")
        for name, ends in self.tuning.space.items():
            for value in ends:
                change(self.settings, {name: value})
        shared = {seed for panel in self.panels for seed in panel.seeds} & {*self.tuning.seeds}
        if shared:
            raise ValueError(
                f"study {self.name} reports seeds that it is tuned on: {_listed(shared)}; tune on "
                "others"
            )

    def runs(self) -> list[Run]:
        """Return the runs, in the order of their panels, seeds last."""
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
        for name in panel.methods:
            base = change(change(self.settings, self.tuned.get(name, {})), panel.changes)
            for probability in panel.oversight_probabilities:
                for seed in panel.seeds:
                    own: Changes = {
                        "method": name,
                        "oversight_probability": probability,
                        "seed": seed,
                    }
                    config = change(base, {"run_dir": None, **own})
                    yield Run(run_id(config, panel.variation), panel.variation, config)


def run_id(config: TrainConfig, variation: str = DEFAULT) -> str:
    """Return the name of a run, such as `naive-p0.1-seed3` or `naive-hidden-p0.1-seed3`."""
    words = [config.method, *([] if variation == DEFAULT else [variation])]
    return "-".join([*words, f"p{config.oversight_probability:g}", f"seed{config.seed}"])


def change(config: TrainConfig, changes: Changes) -> TrainConfig:
    """Return settings with some of them changed, named by dotted paths.

    Raises:
        ValueError: if there is no such setting.

    >>> change(TrainConfig(), {"ppo.gamma": 0.5, "num_envs": 8}).ppo.gamma
    0.5
    """
    for path, value in changes.items():
        config = _change(config, path, path.split("."), value)
    return config


def _change(record: Any, path: str, names: Sequence[str], value: Any) -> Any:  # noqa: ANN401
    name, *rest = names
    if name not in getattr(record, "__dataclass_fields__", ()):
        raise ValueError(
            f"there is no setting {path!r}: `python -m oversight.train --help` lists all"
        )
    return replace(
        record, **{name: _change(getattr(record, name), path, rest, value) if rest else value}
    )


def restrict(
    runs: Sequence[Run],
    methods: Sequence[str] = (),
    oversight_probabilities: Sequence[float] = (),
    seeds: Sequence[int] = (),
) -> list[Run]:
    """Return the runs of these methods, probabilities and seeds; of all where none are given.

    Raises:
        ValueError: if none of the runs has one of them.
    """
    wanted: dict[str, Sequence[Any]] = {
        "method": methods,
        "oversight_probability": oversight_probabilities,
        "seed": seeds,
    }
    for name, values in wanted.items():
        has = dict.fromkeys(getattr(run.config, name) for run in runs)
        unknown = [value for value in values if value not in has]
        if unknown:
            word = name.replace("_", " ")
            raise ValueError(f"the study has no {word} {unknown[0]!r}: choose from {_listed(has)}")
    return [
        run
        for run in runs
        if all(not each or getattr(run.config, name) in each for name, each in wanted.items())
    ]


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in sorted(values))
