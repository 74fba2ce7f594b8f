"""What a method takes out of a trained model."""

from lm.experiment.config import UnlearnConfig
from lm.experiment.material import Material
from lm.methods import METHODS
from lm.model.expansion import ablate_random
from lm.model.language_model import LanguageModel
from lm.rmu import misdirect


def cut(
    config: UnlearnConfig, name: str, model: LanguageModel, material: Material, seed: int
) -> LanguageModel:
    """Return a model without what its method takes out: some hidden units, or directions.

    Raises:
        ValueError: if there is no story labelled forget for a method that needs one.
    """
    method = METHODS[name]
    if method.ablation == "expansion":
        return model.ablated()
    if method.ablation == "random":
        return ablate_random(model, config.expansion, range(len(model.layers())), seed)
    if method.rmu:
        own = config.rmu
        return misdirect(model, material.forget, material.kept, own, config.batch_size, seed)
    return model
