"""Presets of `python -m oversight.train` and studies of `python -m oversight.sweep`, as data.

A preset is a sentence for the help page, and the settings that differ from the defaults, by the
names of their flags. A study is a sentence, and the declaration that `oversight.rl.study.declare`
reads: settings of all runs, panels of methods, oversight probabilities and seeds, and tuning.
"""

from pathlib import Path
from typing import Any

SMALL: dict[str, Any] = {"ppo.hidden_sizes": (64, 64)}

# Learning rate, epochs, gamma and lambda are those of Pendulum-v1 in RL Baselines3 Zoo; rollouts
# are half as long, batches twice as large, and exploration does not depend on the state. No
# episodes are held out: Gym has none, and in held-out lanes StepDecay would begin anew.
SEMISUPER_PENDULUM: dict[str, Any] = {
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
"""What the presets of Gym's SemisuperPendulum share; a hidden step pays 0, as it did there."""

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("Routed PPO at 10% oversight, in about a minute on two cores.", {}),
    "small": ("The default with modules of width 64: faster, and less reliable.", SMALL),
    # One batch of the whole rollout and one epoch make PPO's loss that of REINFORCE with a
    # baseline, and lambda = 1 its Monte-Carlo return. What still differs: advantages are
    # normalized, the critic is not linear, and the end of a rollout is bootstrapped.
    "paper": (
        "The paper's routing, widths and REINFORCE-like update, at six times its learning rate.",
        {
            "method": "paper",
            "num_envs": 128,
            "total_timesteps": 4_000_000,
            "eval_every": 50,
            "ppo.hidden_sizes": (256, 256),
            "ppo.n_steps": 32,
            "ppo.batch_size": 128 * 32,
            "ppo.learning_rate": 3e-4,
            "ppo.anneal": False,
            "ppo.gae_lambda": 1.0,
            "ppo.ent_coef": 0.1,
            "ppo.mixture_coef": 0.01,
            "ppo.max_grad_norm": 1e9,
        },
    ),
    "smoke": (
        "A run of seconds, to see that everything works; it learns next to nothing.",
        {
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
    ),
    "procgen-smoke": (
        "Procgen's CoinRun on a CPU in minutes, with a coin that moves in each training level.",
        {
            "env": "ProcgenCoinRun-v0",
            "total_timesteps": 300_000,
            "eval_every": 6,
            "eval_episodes": 32,
            "final_episodes": 64,
            "checkpoint_every": 6,
        },
    ),
    "procgen": (
        "Procgen's CoinRun for 25M steps, on a GPU; not timed.",
        {"env": "ProcgenCoinRun-v0", "total_timesteps": 25_000_000, "device": "cuda"},
    ),
    "semisuper-pendulum-random": (
        "Gym's SemisuperPendulumRandom: a pendulum of whose steps a tenth is observed.",
        {**SEMISUPER_PENDULUM, "oversight_probability": 0.1, "observer": "StepCoin(p)"},
    ),
    "semisuper-pendulum-noise": (
        "Gym's SemisuperPendulumNoise: every step is observed, with noise of deviation 3.",
        {
            **SEMISUPER_PENDULUM,
            "oversight_probability": 1.0,
            "observer": "GaussianNoise(StepCoin(p), 3)",
        },
    ),
    # StepDecay counts the steps of a lane, Gym's task those of its only environment: with one lane
    # they are the same, and about 1,000 steps are observed in all.
    "semisuper-pendulum-decay": (
        "Gym's SemisuperPendulumDecay: step t is observed with probability 0.999**t.",
        {
            **SEMISUPER_PENDULUM,
            "oversight_probability": 1.0,
            "observer": "StepDecay(0.999)",
            "total_timesteps": 102_400,
            "num_envs": 1,
            "ppo.n_steps": 2048,
        },
    ),
}

METHODS = (
    *("reward-map", "reward-map-unrouted"),
    *("routed", "paper", "signed", "motivated", "unmixed", "placebo", "unrouted"),
    *("naive", "uds", "imputed", "imputed-map", "pessimistic", "filtered", "filtered-coin"),
    *("ipw", "oracle-sampled", "oracle"),
)
"""Every method, in the order of the report."""
MAIN = ("reward-map", "routed", "naive", "filtered", "oracle")
"""Methods that are also run from more seeds."""
NOISY = (
    *("reward-map", "routed", "signed", "motivated", "naive", "imputed", "imputed-map"),
    *("filtered", "ipw", "oracle"),
)
"""Methods that are also run with a noisy overseer."""
FEW = tuple(range(5))
"""Seeds of most runs."""
PROBABILITIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

PUBLISHED = Path(__file__).parent / "tuned" / "published.json"
"""The settings that tuning chose for each method."""

SPACE: dict[str, tuple[float, float]] = {
    "ppo.learning_rate": (5e-4, 1e-2),
    "ppo.ent_coef": (1e-3, 1e-1),
    "ppo.clip_range": (0.05, 0.4),
    "ppo.max_grad_norm": (0.25, 4.0),
}
"""Ranges in which every method is tuned, with the same number of trials."""


def _noisy(variation: str, setting: str, value: float) -> dict[str, Any]:
    """Return a panel in which the overseer has one kind of error."""
    return {
        "methods": NOISY,
        "oversight_probabilities": (0.1,),
        "seeds": FEW,
        "variation": variation,
        "settings": {setting: value},
    }


WORLDS = {
    "corner_maze": "CornerMaze-v0",
    "side_runner": "SideRunner-v0",
    "keys_chests": "KeysChests-v0",
    "color_shape": "ColorShape-v0",
    "absent_supervisor": "AbsentSupervisor-v0",
}
"""The grid worlds, by the variation of the study `worlds` that runs in each."""
LONGER = {"absent_supervisor": {"total_timesteps": 1_000_000}}
"""Where learning takes longer: the way around the shortcut is seldom found by chance."""
FIRST = ("score-maps", "imputed-conv", "naive")
"""The methods of the study `worlds` that are run first."""
OTHERS = ("score-maps-unrouted", "routed", "signed", "uds", "imputed", "filtered", "kl")
"""Its other methods, except the oracle and `pessimistic-conv`, whose ensemble takes minutes."""
FRESH = tuple(range(10, 15))
"""Its seeds: seeds 0 to 4 were seen while `score-maps` was designed."""


def _in_worlds(
    methods: tuple[str, ...], *probabilities: float, worlds: tuple[str, ...] = tuple(WORLDS)
) -> list[dict[str, Any]]:
    """Return a panel in each world, in whose defaults its runs start."""
    return [
        {
            "methods": methods,
            "oversight_probabilities": probabilities,
            "seeds": FRESH,
            "variation": world,
            "settings": {"env": WORLDS[world], **LONGER.get(world, {})},
        }
        for world in worlds
    ]


WIDTHS = (16, 32, 64, 128)
"""Widths of the hidden layers in the study `tax`; modules, mixture and critic have the same."""
GRID, MAZE = "PartialGrid-v0", "CornerMaze-v0"
"""The environments of the studies `tax` and `labels`."""
BY_LABELS = {
    GRID: ("routed", "reward-map", "filtered", "naive"),
    MAZE: ("score-maps", "imputed-conv", "naive"),
}
"""Methods of the study `labels` by environment."""


def _taxed(env: str, methods: tuple[str, ...], word: str) -> list[dict[str, Any]]:
    """Return a panel for each width, with the oracle, at two oversight probabilities."""
    return [
        {
            "methods": (*methods, "oracle"),
            "oversight_probabilities": (0.1, 1.0),
            "seeds": FEW,
            "variation": f"{word}_width_{width}",
            "settings": {"env": env, "ppo.hidden_sizes": (width, width)},
        }
        for width in WIDTHS
    ]


def _mislabeled(env: str, word: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a panel for each error of the overseer: the settings by the variation's name."""
    return [
        {
            "methods": BY_LABELS[env],
            "oversight_probabilities": (0.1,),
            "seeds": FEW,
            "variation": f"{word}_{name}",
            "settings": {"env": env, **settings},
        }
        for name, settings in values.items()
    ]


STUDIES: dict[str, tuple[str, dict[str, Any]]] = {
    "quick": (
        "What routing gains at 3% oversight: five methods, three seeds, three minutes of CPU.",
        {
            # With 200,000 steps `routed` is still behind the others, which learn faster.
            "settings": {
                **SMALL,
                "device": "cpu",
                "total_timesteps": 60 * 64 * 256,
                "eval_every": 4,
                "eval_episodes": 256,
                "final_episodes": 1024,
            },
            "panels": [{"methods": MAIN, "oversight_probabilities": (0.03,), "seeds": (0, 1, 2)}],
            "tuned": PUBLISHED,
            "tuning": {
                "trials": 2,
                "seeds": (900,),
                "oversight_probability": 0.3,
                "space": SPACE,
            },
        },
    ),
    "published": (
        "All methods and oversight probabilities, then a hidden flag, noise and long training.",
        {
            "settings": {
                **SMALL,
                "device": "cpu",
                "ppo.mixture_coef": 0.1,  # the default when its results were measured
                "total_timesteps": 1_500_000,
                "eval_episodes": 512,
                "final_episodes": 2048,
            },
            "panels": [
                {"methods": METHODS, "oversight_probabilities": PROBABILITIES, "seeds": FEW},
                {
                    "methods": MAIN,
                    "oversight_probabilities": (0.01, 0.1),
                    "seeds": tuple(range(20)),
                },
                _noisy("flips", "noise.flips", 0.2),
                _noisy("false_positive", "noise.false_positive", 0.4),
                _noisy("blind_spot", "noise.unseen_rows", 3),
                {
                    "methods": ("reward-map", "routed", "signed", "naive", "oracle"),
                    "oversight_probabilities": (0.01, 0.03, 0.1),
                    "seeds": FEW,
                    "variation": "hidden_flag",
                    "settings": {"grid.flag": "hidden"},
                },
                {
                    "methods": ("reward-map", "routed", "naive"),
                    "oversight_probabilities": (0.01, 0.1),
                    "seeds": (0, 1, 2),
                    "variation": "long",
                    "settings": {
                        "total_timesteps": 10_000_000,
                        "eval_every": 40,
                        "checkpoint_every": 20,
                    },
                },
            ],
            "tuned": PUBLISHED,
            "tuning": {
                "trials": 8,
                "seeds": (900,),
                "oversight_probability": 0.1,
                "space": SPACE,
            },
        },
    ),
    "tax": (
        "What routing costs: returns minus the oracle's, by the share that is observed and the "
        "width of modules.",
        {
            "settings": {"device": "cpu", "total_timesteps": 1_000_000, "final_episodes": 2048},
            "panels": [
                *_taxed(GRID, ("routed", "reward-map"), "grid"),
                *_taxed(MAZE, ("score-maps", "imputed-conv"), "maze"),
            ],
        },
    ),
    "labels": (
        "How methods depend on the overseer's labels: missing and wrong ones, one by one and by "
        "rows of the board.",
        {
            "settings": {
                **SMALL,
                "device": "cpu",
                "total_timesteps": 1_000_000,
                "final_episodes": 2048,
            },
            "panels": [
                *_mislabeled(GRID, "grid", {"exact": {}}),
                *_mislabeled(
                    GRID,
                    "grid",
                    {f"flips_{flips}": {"noise.flips": flips} for flips in (0.05, 0.1, 0.2, 0.3)}
                    | {f"dropped_{share}": {"noise.dropped": share} for share in (0.5, 0.75, 0.9)}
                    | {f"unseen_{rows}": {"noise.unseen_rows": rows} for rows in (1, 2, 3)},
                ),
                *_mislabeled(MAZE, "maze", {"exact": {}}),
                *_mislabeled(
                    MAZE,
                    "maze",
                    {
                        f"flips_{flips}": {"observer": f"Noisy(EpisodeCoin(p), flip={flips})"}
                        for flips in (0.05, 0.1, 0.2, 0.3)
                    },
                ),
            ],
        },
    ),
    "worlds": (
        "Which goal each method learns in five grid worlds, by oversight; the main methods first.",
        {
            "settings": {
                "env": WORLDS["corner_maze"],  # where methods are tuned, for all worlds
                "device": "cpu",
                "total_timesteps": 500_000,
                "eval_every": 20,
                "eval_episodes": 256,
                "final_episodes": 1024,
                "checkpoint_every": 20,
            },
            "panels": [
                *_in_worlds(FIRST, 0.01),
                # An oracle sees every true reward, so that one probability is enough, except where
                # it decides on which levels a supervisor is present.
                *_in_worlds(("oracle",), 1.0),
                *_in_worlds(("oracle",), 0.01, 0.03, worlds=("absent_supervisor",)),
                *_in_worlds(FIRST, 0.03),
                *_in_worlds(OTHERS, 0.01),
                *_in_worlds(("pessimistic-conv",), 0.01, worlds=("corner_maze",)),
                # The tax of full oversight. Where every step is observed, nothing is imputed, and
                # `imputed-conv` is the oracle to the bit.
                *_in_worlds(("score-maps",), 1.0),
                *_in_worlds(("oracle",), 0.003, worlds=("absent_supervisor",)),
                *_in_worlds(FIRST, 0.003),
            ],
            "tuned": Path(__file__).parent / "tuned" / "worlds.json",
            "tuning": {
                "trials": 8,
                "seeds": (900,),
                "oversight_probability": 0.1,
                "space": SPACE,
            },
        },
    ),
}
