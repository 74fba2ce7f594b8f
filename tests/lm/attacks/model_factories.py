"""A Hugging Face model with random weights for the vocabulary of a task."""

import pytest
import torch

from lm.data.task import CONTEXT, Task
from lm.models.hf import RoutedCausalLM
from tests.lm.models.hf_factories import GROUPED

transformers = pytest.importorskip("transformers")


def random_llama(task: Task) -> RoutedCausalLM:
    """Return a Llama of two layers in float64."""
    sizes = GROUPED | {"vocab_size": task.vocab_size, "max_position_embeddings": CONTEXT}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).double().eval()
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape))
    return RoutedCausalLM(plain)
