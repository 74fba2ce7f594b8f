"""A study: which runs it declares, in which order, and what it refuses."""

from dataclasses import replace
from typing import Any

import pytest

from agents import METHODS
from agents.config import PPOConfig
from configs.rl import STUDIES
from envs.gridworld import NoiseConfig
from oversight.rl.config import TrainConfig
from oversight.rl.study import Panel, Study, Tuning, change, restrict

SMALL = TrainConfig(num_envs=8, ppo=PPOConfig(batch_size=64))
ONE = Panel(methods=("routed", "naive"), oversight_probabilities=(0.1, 1.0), seeds=(0, 1))


def study(*panels: Panel, **more: Any) -> Study:  # noqa: ANN401
    return Study(name="mine", settings=SMALL, panels=panels, **more)


def test_a_panel_is_every_combination_seeds_last() -> None:
    assert [run.id for run in study(ONE).runs()] == [
        *("routed-p0.1-seed0", "routed-p0.1-seed1", "routed-p1-seed0", "routed-p1-seed1"),
        *("naive-p0.1-seed0", "naive-p0.1-seed1", "naive-p1-seed0", "naive-p1-seed1"),
    ]
    for run in study(ONE).runs():
        config = run.config
        assert run.id == f"{config.method}-p{config.oversight_probability:g}-seed{config.seed}"
        own = {"method": "naive", "oversight_probability": 0.5, "seed": 9}
        assert change(config, own) == change(SMALL, own)


def test_settings_come_from_the_study_then_tuning_then_the_panel() -> None:
    hidden = Panel(
        methods=("routed", "naive"),
        oversight_probabilities=(0.5,),
        seeds=(3,),
        variation="hidden",
        changes={"grid.flag": "hidden", "ppo.gamma": 0.5},
    )
    tuned = {"naive": {"ppo.gamma": 0.75, "ppo.ent_coef": 0.125}}
    routed, naive = study(hidden, tuned=tuned).runs()
    assert (routed.id, routed.variation) == ("routed-hidden-p0.5-seed3", "hidden")
    assert routed.config.grid.flag == naive.config.grid.flag == "hidden"
    assert routed.config.ppo == replace(SMALL.ppo, gamma=0.5)
    assert naive.config.ppo == replace(SMALL.ppo, gamma=0.5, ent_coef=0.125)


def test_a_run_that_two_panels_name_is_run_once() -> None:
    more = Panel(methods=("naive",), oversight_probabilities=(0.1,), seeds=(1, 2))
    ids = [run.id for run in study(ONE, more).runs()]
    assert len(ids) == len({*ids}) == 9
    assert ids[-1] == "naive-p0.1-seed2"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (study, "study mine has no runs"),
        (lambda: study(replace(ONE, seeds=())), "study mine has no runs"),
        (lambda: study(ONE, replace(ONE, changes={"num_envs": 16})), "two runs routed-p0.1-seed0"),
        (lambda: study(ONE, tuning=Tuning(seeds=(1, 5))), "tuned on: 1; tune on others"),
        (lambda: study(replace(ONE, methods=("ruted",))), "did you mean 'routed'"),
        (lambda: study(replace(ONE, variation="a/b")), "a variation is a word .* got 'a/b'"),
        (lambda: study(replace(ONE, changes={"gamma": 1})), "no setting 'gamma'"),
        (lambda: study(replace(ONE, changes={"ppo.gama": 1})), "no setting 'ppo.gama'"),
        (lambda: study(replace(ONE, changes={"seed.x": 1})), "no setting 'seed.x'"),
        (lambda: study(replace(ONE, oversight_probabilities=(2.0,))), "oversight_probability"),
        (lambda: study(replace(ONE, changes={"ppo.gamma": 2.0})), "gamma must lie in"),
        (lambda: study(ONE, tuning=Tuning(space={"ppo.x": (1, 2)})), "no setting 'ppo.x'"),
        (lambda: study(ONE, tuning=Tuning(space={"ppo.gamma": (1, 2)})), "gamma must lie in"),
        (lambda: Tuning(trials=0), "at least one trial"),
        (lambda: Tuning(space={"ppo.gamma": (0.9, 0.5)}), "range of ppo.gamma .* 0.9 to 0.5"),
    ],
)
def test_what_cannot_be_run_is_refused(make: Any, words: str) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=words):
        make()


def test_a_study_can_be_restricted() -> None:
    runs = study(ONE).runs()
    assert restrict(runs) == runs
    chosen = restrict(runs, ["naive"], [1.0], [1, 0])
    assert [run.id for run in chosen] == ["naive-p1-seed0", "naive-p1-seed1"]
    for part, words in (
        ({"methods": ["oracle"]}, "no method 'oracle': choose from naive, routed"),
        ({"oversight_probabilities": [0.5]}, "no oversight probability 0.5: choose from 0.1, 1.0"),
        ({"seeds": [0, 7]}, "no seed 7: choose from 0, 1"),
    ):
        with pytest.raises(ValueError, match=words):
            restrict(runs, **part)


@pytest.mark.parametrize("name", ["quick", "published"])
def test_a_preset_is_a_documented_study_of_its_name(name: str) -> None:
    make = STUDIES[name]
    assert make.__name__ == make().name == name
    assert (make.__doc__ or "").strip().endswith(".")
    assert make() == make()
    for run in make().runs():
        assert run.config.device == "cpu"  # the promise of equal bits is one of processors
        assert run.config.threads == 1
        assert run.config.run_dir is None


def test_the_published_study_has_the_seeds_that_it_should() -> None:
    seeds: dict[tuple[str, str, float], set[int]] = {}
    for run in STUDIES["published"]().runs():
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
        **{"flips": {0.1}, "missed": {0.1}, "blind_spot": {0.1}, "long": {0.01, 0.1}},
    }
    assert {method for variation, method, _ in seeds if variation == "default"} == {*METHODS}


def test_the_published_study_has_overseers_who_err() -> None:
    errors = {run.variation: run.config.noise for run in STUDIES["published"]().runs()}
    assert errors.pop("flips") == NoiseConfig(flips=0.2)
    assert errors.pop("missed") == NoiseConfig(false_positive=0.4)
    assert errors.pop("blind_spot") == NoiseConfig(unseen_rows=3)
    assert all(noise.noiseless for noise in errors.values())
