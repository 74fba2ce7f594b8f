"""What a run starts from: a task in the tokens of its model, and the model before training."""

from dataclasses import replace
from pathlib import Path

from lm.data.shards import open_shards
from lm.experiment.config import UnlearnConfig
from lm.experiment.documents import Documents, require_enough
from lm.experiment.stories import Stories
from lm.experiment.subject import Subject
from lm.hf.loading import load, load_tokenizer
from lm.hf.model import RoutedCausalLM
from lm.methods import METHODS, Method
from lm.model.gpt import GPT
from lm.model.language_model import LanguageModel
from lm.model.sizes import GPTConfig, size
from lm.task import make_task


def task_of(config: UnlearnConfig) -> Subject:
    """Return what a run is to unlearn, in the tokens of the pretrained model if there is one.

    Raises:
        ValueError: if a topic is unknown, the tokenizer cannot be loaded, or documents are too few
            or not prepared for it.
    """
    if config.data is not None:
        return _documents(config, config.data)
    if config.model is None:
        return Stories(**vars(make_task(config.task)))
    tokenizer = load_tokenizer(config.model, config.gguf_file)
    own = make_task(config.task, tokenizer.backend_tokenizer, tokenizer.eos_token_id)
    return Stories(**vars(own))


def _documents(config: UnlearnConfig, folder: Path) -> Documents:
    """Return prepared documents; a new model takes the tokenizer that they were prepared with."""
    manifest = open_shards(folder).manifest
    context = manifest.setting("context")
    if context is None:
        raise ValueError(
            f"{folder} was prepared without a cut, so that rows have no length: prepare it with a "
            "--context"
        )
    name = config.model or manifest.setting("tokenizer")
    file = config.gguf_file if config.model else manifest.setting("gguf_file")
    tokenizer = load_tokenizer(name, file)
    documents = Documents(open_shards(folder, tokenizer), tokenizer, context)
    require_enough(documents, config)
    return documents


def first_model(config: UnlearnConfig, name: str, task: Subject, seed: int) -> LanguageModel:
    """Return the model that a method trains: a new one, or a pretrained one with what it adds.

    Args:
        config: of the run.
        name: of the method.
        task: of the run.
        seed: of new weights. Those that a new model has without an expansion do not depend on it.

    Raises:
        ValueError: if the pretrained model cannot be loaded, or lacks the layers to add to.
    """
    method = METHODS[name]
    if config.model is None:
        return GPT(gpt_shape(config, task, method), seed)
    plain = load(config.model, config.gguf_file).model
    if method.adapted:
        return RoutedCausalLM(plain, seed=seed, adapters=config.adapters)
    layers = range(plain.config.num_hidden_layers) if method.expanded else ()
    return RoutedCausalLM(plain, config.expansion if method.expanded else 0, layers, seed)


def gpt_shape(config: UnlearnConfig, task: Subject, method: Method) -> GPTConfig:
    """Return the shape of a method's own model for a task."""
    plain = replace(size(config.size, task.vocab_size), context=task.context)
    if not method.expanded:
        return plain
    layers = tuple(range(plain.num_layers))
    return replace(
        plain,
        expansion=config.expansion,
        expanded_layers=layers,
        added_embedding=method.embedded,
    )
