"""What a run starts from: a task in the tokens of its model, and the model before training."""

from dataclasses import replace

from lm.experiment.config import UnlearnConfig
from lm.hf.loading import load, load_tokenizer
from lm.hf.model import RoutedCausalLM
from lm.methods import METHODS, Method
from lm.model.gpt import GPT
from lm.model.language_model import LanguageModel
from lm.model.sizes import GPTConfig, size
from lm.task import Task, make_task


def task_of(config: UnlearnConfig) -> Task:
    """Return the task of a run, in the tokens of the pretrained model if there is one.

    Raises:
        ValueError: if a topic is unknown, or the tokenizer cannot be loaded.
    """
    if config.model is None:
        return make_task(config.task)
    tokenizer = load_tokenizer(config.model, config.gguf_file)
    return make_task(config.task, tokenizer.backend_tokenizer, tokenizer.eos_token_id)


def first_model(config: UnlearnConfig, name: str, task: Task, seed: int) -> LanguageModel:
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
        return RoutedCausalLM(plain, seed=seed, rank=config.adapter_rank)
    layers = range(plain.config.num_hidden_layers) if method.expanded else ()
    return RoutedCausalLM(plain, config.expansion if method.expanded else 0, layers, seed)


def gpt_shape(config: UnlearnConfig, task: Task, method: Method) -> GPTConfig:
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
