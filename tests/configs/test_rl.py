"""Presets and studies of RL: what they resolve to, and that they make runs."""

import re
from dataclasses import asdict, replace
from importlib.util import find_spec
from typing import Any

import pytest

from agents import METHODS
from configs.rl import PRESETS, STUDIES
from envs.gridworld import NoiseConfig
from envs.worlds import WORLDS
from oversight.rl.agent import make_agent
from oversight.rl.config import TrainConfig, default_config, presets_for
from oversight.rl.environment import PARTIAL_GRID
from oversight.rl.study import Study, declare
from oversight.runs.cli import override
from oversight.runs.folder import flat
from oversight.runs.statistics import MIN_SEEDS

PENDULUM: dict[str, Any] = {
    "env": "Pendulum-v1",
    "method": "imputed",
    "total_timesteps": 204_800,
    "num_envs": 4,
    "eval_every": 20,
    "checkpoint_every": 20,
    "held_out": 0.0,
    "ppo.n_steps": 512,
    "ppo.batch_size": 128,
    "ppo.gamma": 0.9,
    "ppo.ent_coef": 0.0,
}
EXPECTED: dict[str, dict[str, Any]] = {
    "default": {
        "method": "routed",
        "oversight_probability": 0.1,
        "total_timesteps": 1_400_000,
        "num_envs": 256,
        "seed": 0,
        "held_out": 0.25,
        "eval_every": 10,
        "eval_episodes": 1024,
        "final_episodes": 4096,
        "checkpoint_every": 5,
        "ppo.hidden_sizes": (128, 128),
        "ppo.n_steps": 64,
        "ppo.batch_size": 512,
        "ppo.n_epochs": 1,
        "ppo.learning_rate": 2.5e-3,
        "ppo.anneal": True,
        "ppo.gamma": 0.97,
        "ppo.gae_lambda": 0.9,
        "ppo.clip_range": 0.1,
        "ppo.ent_coef": 0.01,
        "ppo.vf_coef": 0.5,
        "ppo.mixture_coef": 0.05,
        "ppo.max_grad_norm": 1.0,
    },
    "small": {"ppo.hidden_sizes": (64, 64)},
    "paper": {
        "method": "paper",
        "num_envs": 128,
        "total_timesteps": 4_000_000,
        "eval_every": 50,
        "ppo.hidden_sizes": (256, 256),
        "ppo.n_steps": 32,
        "ppo.batch_size": 4096,
        "ppo.learning_rate": 3e-4,
        "ppo.anneal": False,
        "ppo.gae_lambda": 1.0,
        "ppo.ent_coef": 0.1,
        "ppo.mixture_coef": 0.01,
        "ppo.max_grad_norm": 1e9,
    },
    "smoke": {
        "num_envs": 32,
        "total_timesteps": 8192,
        "eval_every": 2,
        "eval_episodes": 64,
        "final_episodes": 256,
        "checkpoint_every": 1,
        "ppo.hidden_sizes": (16, 16),
        "ppo.n_steps": 32,
        "ppo.batch_size": 512,
        "ppo.n_epochs": 1,
    },
    "procgen-smoke": {
        "env": "ProcgenCoinRun-v0",
        "total_timesteps": 300_000,
        "eval_every": 6,
        "eval_episodes": 32,
        "final_episodes": 64,
        "checkpoint_every": 6,
    },
    "procgen": {
        "env": "ProcgenCoinRun-v0",
        "total_timesteps": 25_000_000,
        "device": "cuda",
    },
    "semisuper-pendulum-random": {
        **PENDULUM,
        "oversight_probability": 0.1,
        "observer": "StepCoin(p)",
    },
    "semisuper-pendulum-noise": {
        **PENDULUM,
        "oversight_probability": 1.0,
        "observer": "GaussianNoise(StepCoin(p), 3)",
    },
    "semisuper-pendulum-decay": {
        **PENDULUM,
        "oversight_probability": 1.0,
        "observer": "StepDecay(0.999)",
        "total_timesteps": 102_400,
        "num_envs": 1,
        "ppo.n_steps": 2048,
    },
}
"""Settings of each preset; those that it does not name are the defaults of its environment, or for
PartialGrid-v0 as in `default`."""

NOT_PUBLISHED: dict[str, str] = dict.fromkeys(
    ("imputed-conv", "pessimistic-conv", "kl", "score-maps", "score-maps-unrouted"),
    "It was added after the published study.",
)
"""From a method that the published study lacks to the reason, such as that it was added later."""


def preset(name: str) -> TrainConfig:
    return override(TrainConfig(), presets_for([], PRESETS)[name][1])


def environment(name: str) -> str:
    return str(EXPECTED[name].get("env", PARTIAL_GRID))


def published() -> Study:
    return declare("published", STUDIES["published"][1])


@pytest.mark.parametrize("name", PRESETS)
def test_preset_resolves_to_its_published_settings(name: str) -> None:
    sentence, _ = PRESETS[name]
    assert sentence.endswith(".")
    settings = dict(flat(asdict(preset(name))))
    of_grid = EXPECTED["default"] if environment(name) == PARTIAL_GRID else {}
    expected = of_grid | EXPECTED[name]
    assert {key: settings[key] for key in expected} == expected
    rest = dict(flat(asdict(default_config(environment(name)))))
    assert {key: value for key, value in settings.items() if rest[key] != value}.keys() <= (
        EXPECTED[name].keys()
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [name for name in PRESETS if "observer" not in EXPECTED[name]])
def test_preset_makes_an_agent_of_every_method(name: str, method: str) -> None:
    """A rollout that minibatches do not divide would warn, and warnings are errors."""
    if "Procgen" in environment(name) and find_spec("procgen") is None:
        pytest.skip("Procgen is not installed: pip install --no-deps -r requirements-procgen.txt")
    config = replace(preset(name), method=method, device="cpu")
    agent = make_agent(config)
    assert agent.method is METHODS[method]
    assert agent.propensity == agent.rollout_buffer.propensity == config.oversight_probability


def test_given_propensity_is_kept_and_a_missing_one_is_refused() -> None:
    config = replace(preset("smoke"), method="ipw", device="cpu")
    assert make_agent(replace(config, ppo=replace(config.ppo, propensity=0.4))).propensity == 0.4
    with pytest.raises(ValueError, match="'ipw' needs the probability"):
        make_agent(replace(config, oversight_probability=0.0))


@pytest.mark.parametrize("name", STUDIES)
def test_study_is_documented_and_runs_on_one_thread_of_a_processor(name: str) -> None:
    sentence, declaration = STUDIES[name]
    assert sentence.endswith(".")
    for run in declare(name, declaration).runs():
        assert run.config.device == "cpu"  # the promise of equal bits holds for processors
        assert run.config.threads == 1
        assert run.config.run_dir is None


def test_quick_study_compares_the_main_methods_at_one_level_with_seeds_for_a_verdict() -> None:
    runs = declare("quick", STUDIES["quick"][1]).runs()
    levels = {run.config.oversight_probability for run in runs}
    assert levels == {0.03}
    seeds: dict[str, set[int]] = {}
    for run in runs:
        seeds.setdefault(run.config.method, set()).add(run.config.seed)
    assert {*seeds} == {"reward-map", "routed", "naive", "filtered", "oracle"}
    assert all(len(found) >= MIN_SEEDS for found in seeds.values())
    tuned = {run.config.method: run.config.ppo for run in published().runs()}
    rates = {run.config.method: run.config.ppo.learning_rate for run in runs}
    assert rates == {method: tuned[method].learning_rate for method in seeds}


def test_published_study_has_twenty_seeds_in_main_cells_and_five_elsewhere() -> None:
    seeds: dict[tuple[str, str, float], set[int]] = {}
    for run in published().runs():
        key = (run.variation, run.config.method, run.config.oversight_probability)
        seeds.setdefault(key, set()).add(run.config.seed)
    main = ("reward-map", "routed", "naive", "filtered", "oracle")
    for (variation, method, probability), found in seeds.items():
        if variation == "default":
            many = method in main and probability in (0.01, 0.1)
            assert len(found) == (20 if many else 5)
    levels: dict[str, set[float]] = {}
    for variation, _, probability in seeds:
        levels.setdefault(variation, set()).add(probability)
    assert levels == {
        "default": {0.003, 0.01, 0.03, 0.1, 0.3, 1.0},
        "hidden_flag": {0.01, 0.03, 0.1},
        **{"flips": {0.1}, "false_positive": {0.1}, "blind_spot": {0.1}, "long": {0.01, 0.1}},
    }


def test_published_study_has_every_method_unless_a_reason_is_stated() -> None:
    studied = {run.config.method for run in published().runs() if run.variation == "default"}
    assert studied.isdisjoint(NOT_PUBLISHED)
    assert studied | {*NOT_PUBLISHED} == {*METHODS}
    assert all(reason.endswith(".") for reason in NOT_PUBLISHED.values())


def test_published_study_has_noisy_overseers_in_three_variations() -> None:
    errors = {run.variation: run.config.noise for run in published().runs()}
    assert errors.pop("flips") == NoiseConfig(flips=0.2)
    assert errors.pop("false_positive") == NoiseConfig(false_positive=0.4)
    assert errors.pop("blind_spot") == NoiseConfig(unseen_rows=3)
    assert all(noise.noiseless for noise in errors.values())


def worlds() -> Study:
    """Return the study without what tuning found."""
    return declare("worlds", {**STUDIES["worlds"][1], "tuned": None})


def test_worlds_study_runs_each_world_with_its_own_defaults_on_fresh_seeds() -> None:
    runs = worlds().runs()
    envs = {run.variation: run.config.env for run in runs}
    assert [*envs.values()] == [*WORLDS]
    for variation, env in envs.items():
        assert variation == re.sub(r"(?<!^)(?=[A-Z])", "_", env.removesuffix("-v0")).lower()
        own = next(run.config for run in runs if run.variation == variation)
        assert own.ppo == default_config(env).ppo
    assert {run.config.seed for run in runs} == {10, 11, 12, 13, 14}
    assert {run.config.seed for run in runs}.isdisjoint(worlds().tuning.seeds)


def test_worlds_study_has_the_tax_and_an_oracle_in_every_world() -> None:
    levels: dict[tuple[str, str], set[float]] = {}
    for run in worlds().runs():
        key = (run.variation, run.config.method)
        levels.setdefault(key, set()).add(run.config.oversight_probability)
    for (variation, method), found in levels.items():
        full = {1.0} if method in ("score-maps", "oracle") else set()
        fixed = method == "oracle" and variation != "absent_supervisor"
        main = method in ("score-maps", "imputed-conv", "naive", "oracle")
        levels_of_method = {0.003, 0.01, 0.03} if main else {0.01}
        assert found == full | (set() if fixed else levels_of_method)
    assert {method for _, method in levels} == {
        *("score-maps", "score-maps-unrouted", "routed", "signed", "naive", "uds", "imputed"),
        *("imputed-conv", "pessimistic-conv", "filtered", "kl", "oracle"),
    }


def test_worlds_study_begins_with_what_tells_most() -> None:
    runs = worlds().runs()
    order = [(run.config.oversight_probability, run.config.method) for run in runs]
    first = [order.index((level, "score-maps")) for level in (0.01, 0.03, 0.003)]
    assert first == sorted(first)
    last = max(number for number, (level, _) in enumerate(order) if level in (0.01, 0.03))
    assert last < min(number for number, (level, _) in enumerate(order) if level == 0.003)
    for level in (0.01, 0.03):
        early = [order.index((level, name)) for name in ("score-maps", "imputed-conv", "naive")]
        assert max(early) < min(order.index((0.01, name)) for name in ("routed", "kl", "uds"))
    assert order.index((1.0, "oracle")) < order.index((0.01, "routed"))
