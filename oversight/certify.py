"""`python -m oversight.certify`: train with hidden rewards replaced, and compare the runs.

With `--probe` it measures instead whether the environment leaks hidden rewards.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from gymnasium.vector import AutoresetMode
from rich.console import Console
from rich.progress import Progress

from agents import METHODS, Method, method
from agents.boards import require_boards
from agents.ppo import PPOConfig
from envs.gridworld import OVERSEEN
from oversight.certificate import TAMPERS, Certificate, Setup, certify
from oversight.certificate.certificate import as_data, certificate_table, comparison, verdict
from oversight.certificate.leak_meter import meter, planted
from oversight.certificate.leak_meter.planted import KNOWN
from oversight.certificate.leak_meter.playing import trained_policy
from oversight.certificate.leaks import HARMLESS, LEAKS
from oversight.certificate.leaks.self_test import (
    run_self_test,
    self_test_summary,
    self_test_table,
)
from oversight.certificate.setup import Wrapper, make_environment_setup, make_partial_grid_setup
from oversight.rl.config import require_batch
from oversight.rl.environment import (
    PARTIAL_GRID,
    EnvironmentConfig,
    delay_and_normalize,
    make_lane,
    observer_of,
    propensity_of,
    require_method,
    require_usable,
    with_propensity,
)
from oversight.runs import cli
from oversight.runs.folder import commit, require_file_place, write_json
from oversight.runs.settings import COUNT, SEED, THREADS, require_number

INCONCLUSIVE = 3
"""Exit code where no reward was observed, or none hidden."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CertifyConfig(EnvironmentConfig):
    """Certify that hidden rewards change nothing that a learner has.

    Trains once with the environment's rewards, and once for each of four replacements of every
    hidden reward (1e9, NaN, random, negated), with the same seed, and compares the runs bit for
    bit. Exits with 1 if anything differs, and with 3 if no reward was observed, or none hidden, so
    that nothing is shown.

    With --probe nothing is replaced. Instead the true rewards of hidden steps, and the true returns
    of hidden episodes, are predicted from what the learner sees of them, since an observation, the
    end or the length of an episode may leak what the oversight hides. Exits with 1 if anything
    predicts them better than chance, and with 3 if they are constant or too few to measure.
    """

    oversight_probability: float = 0.3
    """Probability that an episode, or in PartialGrid-v0 a terminal square, is observed."""
    method: str = "routed"
    """Name of a method, module:NAME of one of your own, or all: every method that can learn in the
    environment, except the oracles, which are paid true rewards."""
    steps: int = 50_000
    """Environment steps of each run, rounded up to whole rollouts."""
    num_envs: int = 16
    """Number of environments that run side by side."""
    wrapper: Literal["auto", "vector", "single"] = "auto"
    """Whether one PartialOversight wraps all environments (vector) or each has its own (single).
    auto means vector, except in PartialGrid-v0, which has an oversight of its own."""
    autoreset: Literal["same-step", "next-step", "disabled"] = "same-step"
    """When an environment resets after the end of an episode."""
    seed: int = 0
    """Seed of everything."""
    threads: int = 1
    """CPU threads of PyTorch."""
    save: Path | None = None
    """File for the certificates, as JSON."""
    self_test: bool = False
    """Test the certificate instead: plant every known leak, which must be found, and every harmless
    part, which must pass; with --probe, test the leak meter in environments whose leaks are known.
    Only seed and threads are used."""
    probe: bool = False
    """Measure whether observations, ends, lengths, infos and payments leak hidden rewards."""
    episodes: int = meter.EPISODES
    """Episodes that --probe plays; half of them are held out."""
    policy: Literal["random", "trained"] = "random"
    """Who acts in these episodes: uniformly random actions, or the method after --steps steps."""
    ppo: PPOConfig = field(default_factory=lambda: PPOConfig(hidden_sizes=(64, 64)))
    """The learner."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot run, before anything is trained."""
        EnvironmentConfig.__post_init__(self)
        for name in ("steps", "num_envs", "episodes"):
            require_number(name, getattr(self, name), COUNT)
        require_number("threads", self.threads, THREADS)
        require_number("seed", self.seed, SEED)
        require_batch(self.ppo, self.num_envs)
        if self.method != "all":
            method(self.method)
        require_file_place(self.save, "--save")
        if self.self_test and not self.probe and find_spec("matplotlib") is None:
            raise ValueError(
                "--self-test plants a leak into a figure and needs matplotlib: "
                "pip install 'oversight-testbed[report]'"
            )

    @property
    def uses_own_oversight(self) -> bool:
        """Whether the environment is certified with its own oversight."""
        has_own = self.env == PARTIAL_GRID and self.autoreset == "same-step"
        return self.wrapper == "auto" and has_own


def main(args: Sequence[str]) -> int:
    """Certify with the given arguments, print the results, and return the exit code."""
    settings = cli.parse(CertifyConfig, args, "python -m oversight.certify")
    torch.set_num_threads(settings.threads)
    if settings.probe:
        return test_probe(settings.seed) if settings.self_test else probe_env(settings)
    return test_itself(settings.seed) if settings.self_test else certify_all(settings)


def certify_all(settings: CertifyConfig) -> int:
    """Certify each chosen method, and print and save the certificates."""
    console = Console()
    certificates = {}
    for name in chosen_methods(settings):
        require_usable(settings, method(name), settings.ppo.propensity)
    for name in chosen_methods(settings):
        with progress(f"certifying {name}", 1 + len(TAMPERS)) as on_run_end:
            certificate = certify(setup_of(settings, name), on_run_end=on_run_end)
        certificates[name] = certificate
        console.print(certificate_table(f"{name} on {settings.env}", certificate))
        console.out(comparison(certificate), highlight=False)
        console.print(verdict(certificate), highlight=False, markup=False, soft_wrap=True)
    if settings.save is not None:
        save(settings, certificates, settings.save)
    if any(each.differing for each in certificates.values()):
        return 1
    return 0 if all(each.passed for each in certificates.values()) else INCONCLUSIVE


def probe_env(settings: CertifyConfig) -> int:
    """Measure whether the environment leaks hidden rewards, and print and save the result."""
    name = chosen_methods(settings)[0]
    require_usable(settings, method(name), settings.ppo.propensity)
    setup = setup_of(settings, name)
    policy = trained_policy(setup) if settings.policy == "trained" else None
    with progress("playing", settings.episodes) as on_end:
        report = meter.probe(setup, settings.episodes, policy, lambda: on_end("episode"))
    console = Console()
    for table in meter.tables(settings.env, report):
        console.print(table)
    console.print(meter.verdict(report), highlight=False, markup=False, soft_wrap=True)
    if settings.save is not None:
        used = asdict(replace(settings, save=None))
        data = {"settings": used, "commit": commit(), "report": meter.as_data(report)}
        write_json(settings.save, data)
    if report.leaks:
        return 1
    return 0 if report.conclusive else INCONCLUSIVE


def test_probe(seed: int) -> int:
    """Run the self-test of the leak meter, and return 1 if any environment is measured wrongly."""
    with progress("probing environments", len(KNOWN)) as on_end:
        outcomes = planted.run_self_test(KNOWN, seed, on_end)
    console = Console()
    console.print(planted.self_test_table(outcomes))
    console.out(planted.self_test_summary(outcomes), highlight=False)
    return 0 if all(each.is_right for each in outcomes.values()) else 1


def test_itself(seed: int) -> int:
    """Run the self-test, print its results, and return 1 if any part gets the wrong verdict."""
    parts = {**LEAKS, **HARMLESS}
    with progress("certifying planted parts", len(parts)) as on_run_end:
        verdicts = run_self_test(parts, seed, on_run_end)
    console = Console()
    console.print(self_test_table(verdicts))
    console.out(self_test_summary(verdicts), highlight=False)
    return 0 if all(each.is_right for each in verdicts.values()) else 1


def chosen_methods(settings: CertifyConfig) -> list[str]:
    """Return the name of the method, or of all that can learn and are not paid true rewards."""
    if settings.method != "all":
        return [settings.method]
    return [each.name for each in METHODS.values() if can_be_certified(settings, each)]


def can_be_certified(settings: CertifyConfig, method: Method) -> bool:
    """Return whether a method is not paid true rewards, and the settings state what it needs."""
    try:
        require_method(settings, method, settings.ppo.propensity)
        if method.network.score_maps and not settings.uses_own_oversight:
            env = make_lane(settings)
            env.close()
            require_boards(env.observation_space)
    except ValueError:
        return False
    return method.reward != "true"


def setup_of(settings: CertifyConfig, name: str) -> Setup:
    """Return how a method is trained with these settings."""
    if settings.uses_own_oversight:
        observer = OVERSEEN if settings.observer is None else observer_of(settings)
        setup = make_partial_grid_setup(name, settings.oversight_probability, observer)
    else:
        wrapper: Wrapper = "single" if settings.wrapper == "single" else "vector"
        mode = AutoresetMode[settings.autoreset.replace("-", "_").upper()]
        setup = make_environment_setup(name, settings, wrapper, mode)
    ppo = with_propensity(settings.ppo, propensity_of(settings))
    outside = partial(delay_and_normalize, settings, gamma=ppo.gamma)
    return replace(
        setup,
        ppo=ppo,
        outside=outside,
        num_envs=settings.num_envs,
        steps=settings.steps,
        seed=settings.seed,
    )


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on stderr; yield a function to call with the name of each ended run."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda name: bar.update(task, advance=1, description=f"{description}: {name} done")


def save(settings: CertifyConfig, certificates: dict[str, Certificate], path: Path) -> None:
    """Write the certificates, the settings and the commit to a file."""
    data = {name: as_data(each) for name, each in certificates.items()}
    used = asdict(replace(settings, save=None))
    write_json(path, {"settings": used, "commit": commit(), "certificates": data})


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
