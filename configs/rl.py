"""Presets of `python -m oversight.train`: one function per published run.

Studies of `python -m oversight.sweep`: one function per set of runs that are compared.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agents.config import PPOConfig
from oversight.rl.config import TrainConfig
from oversight.rl.study import Changes, Panel, Study, Tuning
from oversight.runs.folder import read_json


def default() -> TrainConfig:
    """Routed PPO at 10% oversight, in about a minute on two cores."""
    return TrainConfig()


def small() -> TrainConfig:
    """The default with modules of width 64: faster, and less reliable."""
    return TrainConfig(ppo=PPOConfig(hidden_sizes=(64, 64)))


def paper() -> TrainConfig:
    """The paper's routing, widths and REINFORCE-like update, at six times its learning rate."""
    # One batch of the whole rollout and one pass make PPO's loss that of REINFORCE with a baseline,
    # and lambda = 1 its Monte-Carlo return. What still differs: advantages are normalized, the
    # critic is not linear, and a rollout's end is bootstrapped.
    ppo = PPOConfig(
        hidden_sizes=(256, 256),
        n_steps=32,
        batch_size=128 * 32,
        learning_rate=3e-4,
        anneal=False,
        gae_lambda=1.0,
        ent_coef=0.1,
        mixture_coef=0.01,
        max_grad_norm=1e9,
    )
    return TrainConfig(
        method="paper", num_envs=128, total_timesteps=4_000_000, eval_every=50, ppo=ppo
    )


def smoke() -> TrainConfig:
    """A run of seconds, to see that everything works; it learns next to nothing."""
    ppo = PPOConfig(hidden_sizes=(16, 16), n_steps=32, batch_size=512, n_epochs=1)
    return replace(
        TrainConfig(num_envs=32, total_timesteps=8192, ppo=ppo),
        eval_every=2,
        eval_episodes=64,
        final_episodes=256,
        checkpoint_every=1,
    )


PRESETS = {"default": default, "small": small, "paper": paper, "smoke": smoke}


TUNED = Path(__file__).parent / "tuned"

METHODS = (
    *("reward-map", "reward-map-unrouted"),
    *("routed", "paper", "signed", "motivated", "unmixed", "placebo", "unrouted"),
    *("naive", "uds", "imputed", "imputed-map", "pessimistic", "filtered", "filtered-coin"),
    *("ipw", "oracle-sampled", "oracle"),
)
"""Every method, in the order of the report."""
MAIN = ("reward-map", "routed", "naive", "filtered", "oracle")
"""Methods that are also run from more seeds."""
HEARING = (
    *("reward-map", "routed", "signed", "motivated", "naive", "imputed", "imputed-map"),
    *("filtered", "ipw", "oracle"),
)
"""Methods that are also run with an overseer who errs."""
FEW = tuple(range(5))
"""Seeds of most runs."""
PROBABILITIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

SPACE = {
    "ppo.learning_rate": (5e-4, 1e-2),
    "ppo.ent_coef": (1e-3, 1e-1),
    "ppo.clip_range": (0.05, 0.4),
    "ppo.max_grad_norm": (0.25, 4.0),
}
"""What every method is tuned in, by the same number of trials."""


def quick() -> Study:
    """Four methods, two oversight probabilities, two seeds: a minute on two cores, to try it."""
    settings = replace(
        small(),
        device="cpu",
        total_timesteps=12 * 64 * 256,
        eval_every=1,
        eval_episodes=256,
        final_episodes=1024,
    )
    panel = Panel(methods=MAIN, oversight_probabilities=(0.1, 1.0), seeds=(0, 1))
    tuning = Tuning(trials=2, seeds=(900,), oversight_probability=0.3, space=SPACE)
    return Study(name="quick", settings=settings, panels=(panel,), tuning=tuning)


def published() -> Study:
    """The fair comparison: all methods and oversight probabilities, and where they may differ.

    That is with the flag hidden, with an overseer who errs or has a blind spot, and after a long
    training.
    """
    everywhere = Panel(methods=METHODS, oversight_probabilities=PROBABILITIES, seeds=FEW)
    precise = Panel(methods=MAIN, oversight_probabilities=(0.01, 0.1), seeds=tuple(range(20)))
    hidden = Panel(
        methods=("reward-map", "routed", "signed", "naive", "oracle"),
        oversight_probabilities=(0.01, 0.03, 0.1),
        seeds=FEW,
        variation="hidden_flag",
        changes={"grid.flag": "hidden"},
    )
    long = Panel(
        methods=("reward-map", "routed", "naive"),
        oversight_probabilities=(0.01, 0.1),
        seeds=(0, 1, 2),
        variation="long",
        changes={"total_timesteps": 10_000_000, "eval_every": 40, "checkpoint_every": 20},
    )
    settings = replace(
        small(), device="cpu", total_timesteps=1_500_000, eval_episodes=512, final_episodes=2048
    )
    return Study(
        name="published",
        settings=settings,
        panels=(everywhere, precise, *_erring(), hidden, long),
        tuned=tuned("published"),
        tuning=Tuning(trials=8, seeds=(900,), oversight_probability=0.1, space=SPACE),
    )


def _erring() -> Iterator[Panel]:
    errors = {
        "flips": ("flips", 0.2),
        "missed": ("false_positive", 0.4),
        "blind_spot": ("unseen_rows", 3),
    }
    for name, (setting, value) in errors.items():
        yield Panel(
            methods=HEARING,
            oversight_probabilities=(0.1,),
            seeds=FEW,
            variation=name,
            changes={f"noise.{setting}": value},
        )


def tuned(study: str) -> dict[str, Changes]:
    """Return the settings that `oversight.tune` found for each method; none if it was not run.

    Raises:
        ValueError: if the file is not one of tuning.
    """
    path = TUNED / f"{study}.json"
    if not path.exists():
        return {}
    try:
        return {name: dict(found["changes"]) for name, found in read_json(path)["methods"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a file that `oversight.tune` wrote") from error


STUDIES = {"quick": quick, "published": published}
