"""What a method takes out of a trained model."""

from lm.experiment.config import UnlearnConfig
from lm.experiment.material import Material
from lm.methods import METHODS
from lm.model.expansion import ablate, ablate_random
from lm.model.gpt import GPT
from lm.rmu import misdirect


def cut(config: UnlearnConfig, name: str, model: GPT, material: Material, seed: int) -> GPT:
    """Return a model without what its method takes out: some hidden units, or directions.

    Raises:
        ValueError: if there is no story labelled forget for a method that needs one.
    """
    method = METHODS[name]
    if method.ablation == "expansion":
        return ablate(model)
    if method.ablation == "random":
        return ablate_random(model, config.expansion, range(model.config.num_layers), seed)
    if method.rmu:
        own = config.rmu
        return misdirect(model, material.forget, material.kept, own, config.batch_size, seed)
    return model
