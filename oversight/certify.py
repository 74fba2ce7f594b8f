"""`python -m oversight.certify`: train with hidden rewards replaced, and compare every bit."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from gymnasium.vector import AutoresetMode
from rich.console import Console
from rich.progress import Progress

from agents import METHODS, method
from agents.config import PPOConfig
from envs.registration import truthful
from oversight.certificate import TAMPERS, Certificate, Setup, certify
from oversight.certificate.certificate import (
    as_data,
    channels_table,
    compared,
    library_table,
    tally,
    verdict,
)
from oversight.certificate.leaks import INNOCENTS, LEAKS
from oversight.certificate.setup import Wrapper, around, grid_world
from oversight.rl.config import require_at_least_one, require_batch, require_seed
from oversight.runs import cli
from oversight.runs.folder import commit, write_json

MODES = {
    "same-step": AutoresetMode.SAME_STEP,
    "next-step": AutoresetMode.NEXT_STEP,
    "disabled": AutoresetMode.DISABLED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CertifyConfig:
    """Certify that hidden rewards change nothing: not one bit of what a learner has.

    Trains once as it is and once for each of four replacements of every hidden reward (1e9, NaN,
    random, negated), from one seed, and compares. Exits 1 if anything differs.
    """

    env: str = "PartialGrid-v0"
    """Environment: any registered id, or module:id to import a module first."""
    method: str = "routed"
    """Method, or all but the oracle, which is paid the truth by design: all."""
    steps: int = 50_000
    """Environment steps of each run, rounded up to whole rollouts."""
    num_envs: int = 16
    """Lanes."""
    observed_probability: float = 0.3
    """Probability that an episode, or in PartialGrid-v0 a terminal square, is observed."""
    wrapper: Literal["auto", "vector", "single"] = "auto"
    """PartialOversight around all lanes, or a single one in each; auto is vector, but none where
    the environment hides rewards by itself, as PartialGrid-v0 does."""
    autoreset: Literal["same-step", "next-step", "disabled"] = "same-step"
    """When a lane that ended is reset."""
    seed: int = 0
    """Seed of everything."""
    threads: int = 1
    """CPU threads of PyTorch."""
    save: Path | None = None
    """Write the certificates to this file, as JSON."""
    self_test: bool = False
    """Instead, plant every known leak in turn, which must be caught, and every innocent part,
    which must pass; only seed and threads matter."""
    ppo: PPOConfig = field(default_factory=lambda: PPOConfig(hidden_sizes=(64, 64)))
    """The learner."""

    def __post_init__(self) -> None:
        """Refuse what cannot run, before anything is trained."""
        for name in ("steps", "num_envs", "threads"):
            require_at_least_one(name, getattr(self, name))
        require_seed(self.seed)
        require_batch(self.ppo, self.num_envs)
        if self.method != "all":
            method(self.method)
        if not 0 <= self.observed_probability <= 1:  # false for NaN as well
            raise ValueError(
                f"observed_probability must be from 0 to 1, got {self.observed_probability}"
            )
        if self.save is not None and not self.save.parent.is_dir():
            raise ValueError(f"save {self.save}: {self.save.parent} is not a folder")

    @property
    def own(self) -> bool:
        """Whether the environment hides rewards by itself."""
        grid = self.env == "PartialGrid-v0" and self.autoreset == "same-step"
        return self.wrapper == "auto" and grid


def main(args: Sequence[str]) -> int:
    """Certify as the arguments say, print, and return 1 if anything differs."""
    settings = cli.parse(CertifyConfig, args, "python -m oversight.certify")
    torch.set_num_threads(settings.threads)
    if settings.self_test:
        return test_itself(settings.seed)
    named = {}
    for chosen in chosen_methods(settings.method):
        with progress(f"certifying {chosen}", 1 + len(TAMPERS)) as told:
            named[chosen] = certify(setup_of(settings, chosen), told=told)
        console = Console()
        console.print(channels_table(f"{chosen} on {settings.env}", named[chosen]))
        for line in (compared(named[chosen]), verdict(named[chosen])):
            console.print(line, highlight=False, soft_wrap=True)
    if settings.save is not None:
        save(settings, named)
    return 0 if all(each.passed for each in named.values()) else 1


def chosen_methods(name: str) -> list[str]:
    """Return the method of that name, or all that are not paid the truth."""
    honest = [each.name for each in METHODS.values() if each.reward != "true"]
    return honest if name == "all" else [name]


def setup_of(settings: CertifyConfig, chosen: str) -> Setup:
    """Return how to train a method as the settings say."""
    probability = settings.observed_probability
    if settings.own:
        world = grid_world({"oversight_probability": probability})
        setup = Setup(world=world, method=method(chosen))
    else:
        wrapper: Wrapper = "single" if settings.wrapper == "single" else "vector"
        oversight = {"observed_probability": probability}
        make = truthful(settings.env)
        setup = around(make, chosen, oversight, wrapper, MODES[settings.autoreset])
    ppo = settings.ppo
    if ppo.propensity is None and probability > 0:
        ppo = replace(ppo, propensity=probability)
    return replace(
        setup,
        ppo=ppo,
        num_envs=settings.num_envs,
        steps=settings.steps,
        seed=settings.seed,
    )


def test_itself(seed: int) -> int:
    """Plant every leak and every innocent part, print, and return 1 if one is taken for another."""
    parts = {**LEAKS, **INNOCENTS}
    results = {}
    with progress("planting", len(parts)) as told:
        for name, planted in parts.items():
            setup = replace(planted.plant(planted.start()), seed=seed, steps=512)
            results[name] = (planted, until_caught(setup))
            told(name)
    console = Console()
    console.print(library_table("what the certificate makes of known faults", results))
    console.print(tally(results), highlight=False)
    taken = [each.passed == (planted.shows is None) for planted, each in results.values()]
    return 0 if all(taken) else 1


def until_caught(setup: Setup) -> Certificate:
    """Certify with one tamper after the other, and return the first certificate that fails.

    Where none does, return that of the last one.
    """
    for name, tamper in TAMPERS.items():
        certificate = certify(setup, {name: tamper})
        if not certificate.passed:
            break
    return certificate


@contextmanager
def progress(doing: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show on stderr how many runs have ended."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda run: bar.update(task, advance=1, description=f"{doing}: {run} done")


def save(settings: CertifyConfig, named: dict[str, Certificate]) -> None:
    """Write certificates, with the settings and the commit that they are of."""
    assert settings.save is not None
    certificates = {name: as_data(each) for name, each in named.items()}
    how = asdict(replace(settings, save=None))
    write_json(settings.save, {"settings": how, "commit": commit(), "certificates": certificates})


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
