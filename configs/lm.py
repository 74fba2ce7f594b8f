"""Presets of `python -m lm.unlearn`: one function per study of unlearning."""

from lm.attack.relearning import AttackConfig
from lm.config import StudyConfig
from lm.task import TaskConfig
from lm.training.loop import LoopConfig


def default() -> StudyConfig:
    """The references and the best routed method on one topic, in five minutes on two cores."""
    return StudyConfig()


def quick() -> StudyConfig:
    """The same in a minute, from a tenth of the training; it learns the stories, not the facts."""
    return StudyConfig(
        loop=LoopConfig(steps=100, warmup=10),
        attack=AttackConfig(learning_rates=(2e-3,), num_examples=(16,), steps=10),
    )


def smoke() -> StudyConfig:
    """A study of seconds, to see that everything works; it learns nothing."""
    return StudyConfig(
        task=TaskConfig(stories=64),
        loop=LoopConfig(steps=2, warmup=1),
        attack=AttackConfig(learning_rates=(2e-3,), num_examples=(4,), steps=2),
    )


def paper() -> StudyConfig:
    """The paper's sweep over labels: its methods and attack, five seeds; for a GPU or a night."""
    return StudyConfig(
        method=("gold", "unrouted", "filtered", "rmu", "era", "parameters"),
        seeds=(0, 1, 2, 3, 4),
        sweep="labels",
        attack=AttackConfig(learning_rates=(5e-5, 5e-4), num_examples=(64,)),
    )


PRESETS = {"default": default, "quick": quick, "smoke": smoke, "paper": paper}
