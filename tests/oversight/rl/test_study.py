"""Studies: the runs that a declaration makes, their order, and refused declarations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.ppo import PPOConfig
from oversight.rl.config import TrainConfig, default_config
from oversight.rl.environment import environment_arguments
from oversight.rl.study import Panel, Study, Tuning, declare, find_study, restrict
from oversight.runs.cli import override
from oversight.runs.folder import write_json

SMALL = TrainConfig(num_envs=8, ppo=PPOConfig(batch_size=64))
ONE = Panel(methods=("routed", "naive"), oversight_probabilities=(0.1, 1.0), seeds=(0, 1))


def study(*panels: Panel, **more: Any) -> Study:  # noqa: ANN401
    return Study(name="mine", settings=SMALL, panels=panels, **more)


def test_runs_are_all_combinations_of_a_panel_with_seeds_last() -> None:
    assert [run.id for run in study(ONE).runs()] == [
        *("routed-p0.1-seed0", "routed-p0.1-seed1", "routed-p1-seed0", "routed-p1-seed1"),
        *("naive-p0.1-seed0", "naive-p0.1-seed1", "naive-p1-seed0", "naive-p1-seed1"),
    ]
    for run in study(ONE).runs():
        config = run.config
        assert run.id == f"{config.method}-p{config.oversight_probability:g}-seed{config.seed}"
        own = {"method": "naive", "oversight_probability": 0.5, "seed": 9}
        assert override(config, own) == override(SMALL, own)


def test_settings_of_panel_override_tuned_ones_and_these_the_study() -> None:
    hidden = Panel(
        methods=("routed", "naive"),
        oversight_probabilities=(0.5,),
        seeds=(3,),
        variation="hidden",
        settings={"grid.flag": "hidden", "ppo.gamma": 0.5},
    )
    tuned = {"naive": {"ppo.gamma": 0.75, "ppo.ent_coef": 0.125}}
    routed, naive = study(hidden, tuned=tuned).runs()
    assert (routed.id, routed.variation) == ("routed-hidden-p0.5-seed3", "hidden")
    assert routed.config.grid.flag == naive.config.grid.flag == "hidden"
    assert routed.config.ppo == replace(SMALL.ppo, gamma=0.5)
    assert naive.config.ppo == replace(SMALL.ppo, gamma=0.5, ent_coef=0.125)


def test_runs_contain_a_run_once_when_two_panels_have_it() -> None:
    more = Panel(methods=("naive",), oversight_probabilities=(0.1,), seeds=(1, 2))
    ids = [run.id for run in study(ONE, more).runs()]
    assert len(ids) == len({*ids}) == 9
    assert ids[-1] == "naive-p0.1-seed2"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (study, "study mine has no runs"),
        (lambda: study(replace(ONE, seeds=())), "study mine has no runs"),
        (lambda: study(ONE, replace(ONE, settings={"num_envs": 16})), "two runs routed-p0.1-seed0"),
        (lambda: study(ONE, tuning=Tuning(seeds=(1, 5))), "tuned on: 1; tune on other seeds"),
        (lambda: study(replace(ONE, methods=("ruted",))), "did you mean 'routed'"),
        (lambda: study(replace(ONE, variation="a/b")), "a variation consists of .* got 'a/b'"),
        (lambda: study(replace(ONE, settings={"gamma": 1})), "unknown setting 'gamma'"),
        (lambda: study(replace(ONE, settings={"ppo.gama": 1})), "unknown setting 'ppo.gama'"),
        (lambda: study(replace(ONE, settings={"seed.x": 1})), "unknown setting 'seed.x'"),
        (lambda: study(replace(ONE, oversight_probabilities=(2.0,))), "oversight_probability"),
        (lambda: study(replace(ONE, settings={"ppo.gamma": 2.0})), "gamma 2.* was given"),
        (lambda: study(ONE, tuning=Tuning(space={"ppo.x": (1, 2)})), "unknown setting 'ppo.x'"),
        (lambda: study(ONE, tuning=Tuning(space={"ppo.gamma": (1, 2)})), "gamma 2.* was given"),
        (lambda: Tuning(trials=0), "at least one trial"),
        (lambda: Tuning(space={"ppo.gamma": (0.9, 0.5)}), "range of ppo.gamma .* 0.9 to 0.5"),
    ],
)
def test_study_raises_when_it_cannot_be_run(make: Any, words: str) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=words):
        make()


def test_restrict_keeps_given_values_and_raises_for_unknown_ones() -> None:
    runs = study(ONE).runs()
    assert restrict(runs) == runs
    chosen = restrict(runs, ["naive"], [1.0], [1, 0])
    assert [run.id for run in chosen] == ["naive-p1-seed0", "naive-p1-seed1"]
    other = study(ONE, replace(ONE, variation="long", settings={"total_timesteps": 9999})).runs()
    assert {run.variation for run in restrict(other, variations=["long"])} == {"long"}
    for part, words in (
        ({"variations": ["long"]}, "no variation 'long': choose from default"),
        ({"methods": ["oracle"]}, "no method 'oracle': choose from naive, routed"),
        ({"oversight_probabilities": [0.5]}, "no oversight probability 0.5: choose from 0.1, 1.0"),
        ({"seeds": [0, 7]}, "no seed 7: choose from 0, 1"),
    ):
        with pytest.raises(ValueError, match=words):
            restrict(runs, **part)


def test_declare_reads_tuned_settings_if_the_file_exists(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    panel = {"methods": ["naive"], "oversight_probabilities": [0.1], "seeds": [0]}
    declaration = {"settings": {"ppo.gamma": 0.5}, "panels": [panel], "tuned": path}
    (untuned,) = declare("mine", declaration).runs()
    assert (untuned.config.ppo.gamma, untuned.config.ppo.ent_coef) == (0.5, 0.01)
    write_json(path, {"methods": {"naive": {"changes": {"ppo.ent_coef": 0.25}}}})
    (tuned,) = declare("mine", declaration).runs()
    assert (tuned.config.ppo.gamma, tuned.config.ppo.ent_coef) == (0.5, 0.25)
    write_json(path, {"methods": 3})
    with pytest.raises(ValueError, match=r"tuned\.json is not a file that `oversight.tune` wrote"):
        declare("mine", declaration)


def test_panel_that_names_an_environment_starts_from_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    write_json(path, {"methods": {"naive": {"changes": {"ppo.ent_coef": 0.25}}}})
    common = {"methods": ["naive"], "oversight_probabilities": [0.5], "seeds": [3]}
    declaration = {
        "settings": {"env": "CornerMaze-v0", "total_timesteps": 64, "ppo.clip_range": 0.3},
        "panels": [
            {**common, "variation": "maze", "settings": {"env": "CornerMaze-v0"}},
            {**common, "variation": "cart", "settings": {"env": "CartPole-v1", "ppo.gamma": 0.5}},
            {**common, "variation": "supervisor", "settings": {"env": "AbsentSupervisor-v0"}},
        ],
        "tuned": path,
    }
    own = {"method": "naive", "oversight_probability": 0.5, "seed": 3, "total_timesteps": 64}
    own |= {"ppo.clip_range": 0.3, "ppo.ent_coef": 0.25}
    runs = {run.variation: run.config for run in declare("mine", declaration).runs()}
    assert runs["maze"] == override(default_config("CornerMaze-v0"), own)
    assert runs["cart"] == override(default_config("CartPole-v1"), {**own, "ppo.gamma": 0.5})
    assert (runs["cart"].num_envs, runs["maze"].num_envs) == (8, 256)
    assert runs["supervisor"] == override(default_config("AbsentSupervisor-v0"), own)
    assert environment_arguments(runs["supervisor"]) == {"supervision": 0.5}
    with pytest.raises(ValueError, match=r"leave --env out; .* --variations maze cart superv"):
        declare("mine", declaration, "CartPole-v1")


def test_panels_of_one_variation_start_from_the_defaults_of_their_own_environments() -> None:
    common = {"oversight_probabilities": [0.5], "seeds": [3], "variation": "both"}
    envs = {"naive": "CornerMaze-v0", "filtered": "CartPole-v1"}
    declaration = {
        "settings": {"total_timesteps": 64},
        "panels": [{**common, "methods": [name], "settings": {"env": envs[name]}} for name in envs],
    }
    for run in declare("mine", declaration).runs():
        own = default_config(envs[run.config.method])
        assert (run.config.env, run.config.num_envs) == (own.env, own.num_envs)


MINE: Any = {
    "settings": {"total_timesteps": 64},
    "panels": [{"methods": ("naive",), "oversight_probabilities": (0.5,), "seeds": (3,)}],
}
"""A study of a user's own."""


def test_study_of_a_users_own_is_imported_by_name() -> None:
    found = find_study(f"{__name__}:MINE", {})
    assert found.name == "MINE"
    assert [run.id for run in found.runs()] == ["naive-p0.5-seed3"]


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        ({"panels": MINE["panels"]}, "KeyError 'settings'"),
        ({"settings": {}}, "KeyError 'panels'"),
        ({**MINE, "panels": [{"method": "naive"}]}, "unexpected keyword argument 'method'"),
        ({**MINE, "tuning": {"tries": 3}}, "unexpected keyword argument 'tries'"),
        ({**MINE, "panels": 3}, "not iterable"),
    ],
)
def test_declaration_of_another_form_is_refused(declaration: Any, words: str) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=f"study MINE is not declared as .*{words}"):
        declare("MINE", declaration)


def test_study_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a mapping"):
        find_study(f"{__name__}:find_study", {})
