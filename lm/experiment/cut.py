"""What a method takes out of a trained model, and what it does to what is left."""

from lm.experiment.config import UnlearnConfig
from lm.experiment.material import Material
from lm.methods import METHODS
from lm.model.expansion import ablate_random
from lm.model.language_model import LanguageModel
from lm.posthoc.table import POSTHOC


def cut(
    config: UnlearnConfig, name: str, model: LanguageModel, material: Material, seed: int
) -> LanguageModel:
    """Return a model without what its method takes out, and as what follows leaves it.

    Raises:
        ValueError: if there is no story labelled forget for a method that needs one.
    """
    method = METHODS[name]
    if method.ablation == "expansion":
        model = model.ablated()
    elif method.ablation == "random":
        model = ablate_random(model, config.expansion, range(len(model.layers())), seed)
    if method.posthoc == "nothing":
        return model
    unlearn, own = POSTHOC[method.posthoc], getattr(config, method.posthoc)
    return unlearn(model, material.forget, material.kept, own, config.batch_size, seed)
