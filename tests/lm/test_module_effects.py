"""Effects of modules against independent computations, and shares with known answers."""

import torch

from lm.corpus import StoryDistribution
from lm.data.task import StoryRows
from lm.evaluation.likelihoods import token_losses
from lm.models.gpt import GPT
from lm.models.shapes import GPTConfig
from lm.module_effects import logit_attribution, pieces, share_of_top, token_text
from lm.task import StoryTask
from tests.lm.evaluation.factories import tiny_task

TASK = tiny_task()


def rows() -> StoryRows:
    topics = StoryDistribution(topics=TASK.splits.forget)
    return TASK.sample(5, [0, 1], topics)


def random_model() -> GPT:
    """Return a model with two modules, all of whose weights are random."""
    shape = GPTConfig(
        vocab_size=TASK.vocab_size,
        width=16,
        num_layers=2,
        num_heads=2,
        context=TASK.context,
        expansion=4,
        expanded_layers=(0, 1),
        added_embedding=True,
        modules=("sea", "forest"),
    )
    model, generator = GPT(shape), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return model


def zeroed(model: GPT, module: str) -> GPT:
    """Return a copy of a model in which all that a module writes is zero."""
    copy = model.copied()
    with torch.no_grad():
        for name, parameter in copy.named_parameters():
            if f".{module}." in name and ("down" in name or "added_embeddings" in name):
                parameter.zero_()
    return copy


def test_removal_of_a_module_equals_zeros_in_what_it_writes() -> None:
    model, texts = random_model(), rows()
    removed = token_losses(model.profile("forest"), texts)
    by_hand = token_losses(zeroed(model, "sea"), texts)
    torch.testing.assert_close(removed, by_hand, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(removed, token_losses(model, texts), atol=1e-2)


def test_logit_attribution_is_the_mean_centered_difference_of_logits() -> None:
    model, texts = random_model(), rows()
    without = zeroed(model, "sea")
    with torch.no_grad():
        difference = (model(texts.inputs) - without(texts.inputs))[texts.kinds >= 0].double()
    expected = (difference - difference.mean(1, keepdim=True)).mean(0)
    found = logit_attribution(model, model.profile("forest"), texts)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert abs(float(found.mean())) < 1e-9


def test_few_tokens_carry_the_increase_that_lies_on_them() -> None:
    increase = torch.tensor([4.0, 3.0, 2.0, 1.0, -5.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert [share_of_top(increase, percent) for percent in (1, 10, 20, 100)] == [
        *(0.4, 0.4, 0.7, 1.0)
    ]
    assert torch.isnan(torch.tensor(share_of_top(-increase.abs(), 10)))


def test_pieces_are_the_text_and_have_the_increase_of_their_token() -> None:
    texts = rows()
    increase = torch.arange(texts.kinds.shape[1], dtype=torch.float64)
    task = StoryTask(**vars(TASK))
    found = pieces(texts, 0, increase, task)
    tokens = texts.targets[0][texts.kinds[0] >= 0].tolist()
    assert "".join(piece for piece, _ in found) == task.decode(tokens)
    assert [value for _, value in found] == list(range(len(tokens)))


def test_parts_of_characters_are_shown_by_their_numbers() -> None:
    task = StoryTask(**vars(TASK))
    texts = {token_text(token, task) for token in range(task.vocab_size)}
    assert all(text.isprintable() and "\ufffd" not in text for text in texts)
