"""The settings of one training run; each library's part is that library's own record."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from agents.config import PPOConfig
from agents.methods import method
from envs import IDS
from envs.config import GridConfig, NoiseConfig
from envs.grid.kernel import NUM_PLANES
from envs.grid.rules import Rules


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Train an agent under partial oversight, and measure what it wants when nobody watches."""

    env: str = "PartialGrid-v0"
    """Environment: a registered id of this project."""
    method: str = "routed"
    """Method: one of those that the README lists, such as routed, naive, filtered or oracle."""
    oversight_probability: float = 0.1
    """Probability that a terminal square is overseen."""
    total_timesteps: int = 1_400_000
    """Environment steps to train for, over all lanes; rounded up to whole rollouts."""
    num_envs: int = 256
    """Lanes of the vector environment."""
    seed: int = 0
    """Seed of everything: same seed, same bits."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks run; auto takes a GPU where there is one."""
    threads: int = 1
    """CPU threads of PyTorch; a part of the seed's promise, since sums depend on their order."""
    run_dir: Path | None = None
    """Folder of the run; by default the next free one under runs/."""
    eval_every: int = 10
    """Rollouts between evaluations; they change nothing in training."""
    eval_episodes: int = 1024
    """Episodes of each evaluation during training."""
    final_episodes: int = 4096
    """Episodes of the evaluation at the end."""
    held_out: float = 0.25
    """Share of all episodes that only choose a checkpoint, by what was observed of them; they are
    played beside training, of which they change nothing, and come on top of its own."""
    checkpoint_every: int = 5
    """Rollouts between checkpoints, from which --resume goes on."""
    grid: GridConfig = field(default_factory=GridConfig)
    """The board."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """The overseer's errors: in what is learned from and chosen by, not in what is measured;
    methods that are paid the true reward do not hear them."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """The learner."""

    def __post_init__(self) -> None:
        """Refuse what cannot run, before anything is written."""
        reward = method(self.method).reward
        object.__setattr__(self, "env", known_id(self.env))
        grid = self.grid
        Rules(grid.size, grid.horizon, self.oversight_probability, grid.flag, reward)
        for name in ("total_timesteps", "num_envs", "threads", "eval_every", "checkpoint_every"):
            require_at_least_one(name, getattr(self, name))
        for name in ("eval_episodes", "final_episodes"):
            require_at_least_one(name, getattr(self, name))
        if not 0 <= self.held_out <= 0.9:
            raise ValueError(f"held_out must lie in [0, 0.9], got {self.held_out}")
        require_seed(self.seed)
        require_batch(self.ppo, self.num_envs)
        require_planes(self.ppo)
        if self.noise.unseen_rows > grid.size:
            raise ValueError(
                f"noise.unseen_rows must be at most the {grid.size} rows of the board, "
                f"got {self.noise.unseen_rows}"
            )
        if not self.noise.silent and grid.flag == "hidden":
            raise ValueError(
                "noise needs grid.flag visible, since the overseer who errs reads that plane: "
                "leave the noise out, or blind the modules to the plane by --ppo.blind 3"
            )

    @property
    def heard(self) -> NoiseConfig:
        """The errors that reach the run: none if its method is paid the true reward."""
        return NoiseConfig() if method(self.method).reward == "true" else self.noise

    @property
    def rollout(self) -> int:
        """Environment steps between two updates."""
        return self.ppo.n_steps * self.num_envs


def known_id(env: str) -> str:
    """Return the id of an environment of ours, without the module that Gymnasium allows before it.

    Raises:
        ValueError: if there is none of that id.

    >>> known_id("envs:PartialGrid-v0")
    'PartialGrid-v0'
    """
    name = env.removeprefix("envs:")
    if name not in IDS:
        close = get_close_matches(name, IDS, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown environment {env!r}: {hint}choose from {', '.join(IDS)}")
    return name


def require_planes(ppo: PPOConfig) -> None:
    """Raise a ValueError for a plane that the grid's observations do not have."""
    given = {"blind": ppo.blind, "place": () if ppo.place is None else (ppo.place,)}
    for name, planes in given.items():
        if not all(0 <= plane < NUM_PLANES for plane in planes):
            raise ValueError(
                f"ppo.{name} must name planes of the grid, 0 to {NUM_PLANES - 1}, got {planes}"
            )


def require_at_least_one(name: str, value: int) -> None:
    """Raise a ValueError for a count below one."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def require_batch(ppo: PPOConfig, num_envs: int) -> None:
    """Raise a ValueError for a batch that no rollout can fill, or that cannot be normalized."""
    if ppo.batch_size < 2 and ppo.advantage_normalization != "none":
        raise ValueError(
            f"ppo.batch_size must be at least 2, since advantages are normalized, got "
            f"{ppo.batch_size}"
        )
    rollout = ppo.n_steps * num_envs
    if ppo.batch_size > rollout:
        raise ValueError(
            f"ppo.batch_size {ppo.batch_size} is larger than a rollout of ppo.n_steps "
            f"{ppo.n_steps} x num_envs {num_envs} = {rollout}: lower the first or raise another"
        )


def require_seed(seed: int) -> None:
    """Raise a ValueError for a seed that not every generator takes."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in [0, 2**32), got {seed}")
