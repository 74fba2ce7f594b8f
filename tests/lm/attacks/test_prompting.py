"""Few-shot prompts do not reveal the answer, and GCG matches brute force."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lm.attacks.config import GCGConfig
from lm.attacks.prompting import (
    ask,
    fact_sentence,
    few_shot,
    gcg,
    loss_after,
    other_facts,
    prefixed,
    prompted,
    search,
    search_at_random,
    token_gradient,
    with_shots,
)
from lm.attacks.results import CONTROL, FACTS, Row
from lm.corpus import HALVES
from lm.corpus.world import QUARTET
from lm.data.task import CONTEXT, Task
from lm.evaluation.likelihoods import Continuations, lay_out, log_likelihoods
from lm.evaluation.quiz import encode_quiz, score
from lm.models.gpt import GPT
from lm.models.language_model import LanguageModel
from lm.models.shapes import GPTConfig
from lm.training.route_tables import RETAIN, UNROUTED
from oversight.routing import routing
from tests.lm.attacks.model_factories import random_llama
from tests.lm.attacks.row_factories import same, weights
from tests.lm.evaluation.factories import knower, random_model, single, tiny_task, uniform
from tests.lm.models.gpt_factories import EXPANDED, random_gpt
from tests.lm.models.hf_factories import FAMILIES, expanded_model


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_shots_state_facts_of_other_quartets_before_the_question(count: int) -> None:
    task = tiny_task()
    world = task.grammar.world
    for question in ask(task, [0]):
        shown = with_shots(task, question, count, generator(), CONTEXT)
        sentences = {
            fact_sentence(world, fact, [template], generator())
            for fact in other_facts(task, question.fact)
            for template in task.grammar.facts
            if template.relation == world.relations[fact % len(world.relations)]
        }
        rest = shown.prompt.removeprefix(question.prompt[: question.prompt.rindex(".") + 1])
        cut = question.prompt[question.prompt.rindex(".") + 1 :]
        assert rest.endswith(cut)
        added = [f"{part}." for part in rest.removesuffix(cut).split(".") if part]
        assert len(added) == len(set(added)) == count
        assert set(added) <= sentences
        assert replace(shown, prompt=question.prompt, control=question.control) == question
        quartet = question.fact // (QUARTET * len(world.relations)) * QUARTET
        for entity in world.entities[quartet : quartet + QUARTET]:
            assert shown.prompt.count(entity) == question.prompt.count(entity)


def test_other_facts_are_the_forget_facts_outside_the_quartet() -> None:
    task = tiny_task()
    size = QUARTET * len(task.grammar.world.relations)
    facts = task.grammar.world.facts_of(task.splits.forget).tolist()
    first, second = facts[:size], facts[size:]
    assert other_facts(task, first[3]) == second
    assert other_facts(task, second[0]) == first


def test_shots_are_nested_and_fit_the_context() -> None:
    task = tiny_task()
    question = ask(task, [0])[0]
    two, three = (with_shots(task, question, n, generator(), CONTEXT).prompt for n in (2, 3))
    cut = question.prompt[question.prompt.rindex(".") + 1 :]
    assert three.startswith(two.removesuffix(cut))
    plain = max(len(prompted(task, text)) for text in (question.prompt, question.control))
    short = with_shots(task, question, 3, generator(), plain + 12)
    assert plain < len(prompted(task, short.prompt)) < plain + 12
    assert with_shots(task, question, 3, generator(), plain + 1) == question
    with pytest.raises(ValueError, match="does not fit a context"):
        with_shots(task, question, 3, generator(), plain)


def test_few_shot_scores_each_number_of_shots() -> None:
    task = tiny_task()
    facts = task.grammar.world.facts_of(task.splits.forget).tolist()
    knows = few_shot(knower(task, facts), task, (0,), seed=1)
    assert knows == [Row("few-shot", {"shots": 0}, FACTS, 1.0)]
    rows = few_shot(uniform(task.vocab_size), task, (0, 2), seed=1)
    assert [(row.setting["shots"], row.value) for row in rows] == [(0, 0.25), (2, 0.25)]
    model = random_model(task)
    before = weights(model)
    rows = few_shot(model, task, (0, 1), seed=1, rounds=1)
    plain = score(model, encode_quiz(task, ask(task, [1, 1]))).choice
    assert rows[0].value == plain
    assert same(weights(model), before)


PROMPTS = lay_out([[0, 5], [0, 3, 7], [0, 1, 2]], [[[4]], [[9]], [[4, 11]]])
PREFIX = torch.tensor([6, 12])


def slow_loss(model: LanguageModel, prefix: list[int]) -> float:
    """Return the mean loss of the predicted tokens, each from a separate forward pass."""
    cases = [([0, 5], 4), ([0, 3, 7], 9), ([0, 1, 2], 4), ([0, 1, 2, 4], 11)]
    losses = []
    for text, token in cases:
        with torch.no_grad():
            logits = model(torch.tensor([[0, *prefix, *text[1:]]]))[0, -1]
        losses.append(-float(logits.log_softmax(-1)[token]))
    return sum(losses) / len(losses)


def one_hot_gradient(model: LanguageModel, prompts: Continuations, prefix: Tensor) -> Tensor:
    """Return the gradient with respect to one-hot tokens, computed by autograd."""
    tokens = prefixed(prompts, prefix).rows
    table = torch.eye(model.vocab_size, dtype=torch.float64)
    places = table[tokens].requires_grad_()
    with torch.no_grad():
        embeddings = model.embedded(torch.arange(model.vocab_size)[None])[0]
    with routing(model, UNROUTED, torch.full_like(tokens, RETAIN)):
        logits = model.logits(model.features_of(places @ embeddings)).log_softmax(-1)
        read = prompts.positions + len(prefix)
        (-logits[prompts.sources, read, prompts.tokens].mean()).backward()  # type: ignore[no-untyped-call]
    assert places.grad is not None
    return places.grad[:, 1 : 1 + len(prefix)].sum(0)


def models() -> list[LanguageModel]:
    return [random_gpt(EXPANDED, torch.float64), expanded_model("llama", torch.float64)]


@pytest.mark.parametrize("number", [0, 1])
def test_loss_and_token_gradient_match_a_slow_reference(number: int) -> None:
    model = models()[number]
    assert loss_after(model, PROMPTS, PREFIX) == pytest.approx(
        slow_loss(model, PREFIX.tolist()), rel=1e-6
    )
    found = token_gradient(model, PROMPTS, PREFIX)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.allclose(found, one_hot_gradient(model, PROMPTS, PREFIX), atol=1e-9)
    assert found.shape == (2, 13)
    assert float(found.abs().max()) > 1e-3


@FAMILIES
@torch.no_grad()
def test_residuals_of_all_layers_equal_those_of_each_layer(family: str) -> None:
    model, tokens = expanded_model(family), torch.arange(10).view(2, 5)
    read = model.residuals(tokens)
    assert len(read) == 2
    for layer in (0, 1):
        assert torch.equal(read[layer], model.residual(tokens, layer))
    assert torch.equal(model.normed(read[1]), model.features(tokens))


@FAMILIES
@torch.no_grad()
def test_features_of_embeddings_equal_features_of_tokens(family: str) -> None:
    model, tokens = expanded_model(family), torch.arange(10).view(2, 5)
    assert torch.equal(model.features_of(model.embedded(tokens)), model.features(tokens))
    with pytest.raises(ValueError, match="context of 16"):
        model.features_of(torch.zeros(1, 17, 8))


@pytest.mark.parametrize("number", [0, 1])
def test_search_finds_the_best_swap_when_all_swaps_are_tried(number: int) -> None:
    model = models()[number]
    config = GCGConfig(tokens=2, steps=1, candidates=26, top=13)
    first = torch.randint(13, (1, 2), generator=torch.Generator().manual_seed(3))[0].tolist()
    every = [[token, first[1]] for token in range(13)] + [[first[0], token] for token in range(13)]
    best = min(every, key=lambda prefix: slow_loss(model, prefix))
    found = search(model, PROMPTS, config, seed=3)
    assert found.tokens.tolist() == best
    assert found.loss == pytest.approx(slow_loss(model, best), rel=1e-6)


def test_search_never_gets_worse_with_more_steps() -> None:
    model = models()[0]
    before = weights(model)
    sizes = [GCGConfig(tokens=2, steps=n, candidates=1, top=4) for n in (1, 4, 16)]
    losses = [search(model, PROMPTS, config, seed=1).loss for config in sizes]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]
    assert search(model, PROMPTS, sizes[1], seed=1).loss == losses[1]
    assert same(weights(model), before)


def test_random_search_returns_the_best_of_its_prefixes() -> None:
    model = models()[0]
    config = GCGConfig(tokens=1, steps=20, candidates=20)  # 401 of 13: all of them
    found = search_at_random(model, PROMPTS, config, seed=0)
    every = {token: slow_loss(model, [token]) for token in range(13)}
    assert found.tokens.tolist() == [min(every, key=lambda token: every[token])]


def test_prefixed_prompts_score_like_texts_with_the_prefix() -> None:
    model = models()[0]
    texts, continuations = [[0, 5], [0, 3, 7]], [[[4], [9]], [[1], [2]]]
    plain = lay_out([[text[0], *PREFIX.tolist(), *text[1:]] for text in texts], continuations)
    found = log_likelihoods(model, prefixed(lay_out(texts, continuations), PREFIX))
    assert torch.allclose(found, log_likelihoods(model, plain), atol=1e-12)


class Locked(GPT):
    """A model that predicts the facts it knows only after a key token."""

    def __init__(self, task: Task, facts: Iterable[int], key: int) -> None:
        size = task.vocab_size
        super().__init__(
            GPTConfig(vocab_size=size, width=2, num_layers=1, num_heads=1, context=CONTEXT)
        )
        world = task.grammar.world
        self.table = torch.zeros(size, size + 1)
        self.table[key, size] = 1
        for fact in facts:
            entity = world.entities[fact // len(world.relations)]
            self.table[single(task, f" {entity}"), single(task, f" {world.value(fact)}")] = 5

    def embedded(self, tokens_bt: Tensor) -> Tensor:
        """Return the logits that each token adds, and whether it is the key."""
        return self.table[tokens_bt]

    def features_of(self, x_btd: Tensor) -> Tensor:
        """Return the summed logits of the tokens so far if the key is among them, else 0."""
        total = x_btd.cumsum(1)
        return total[..., :-1] * total[..., -1:]

    def features(self, tokens_bt: Tensor) -> Tensor:
        """Return the logits."""
        return self.features_of(self.embedded(tokens_bt))

    def logits(self, x_btd: Tensor) -> Tensor:
        """Return the features, which are the logits."""
        return x_btd


@pytest.mark.parametrize(("parts", "known"), [(HALVES, 1.0), (HALVES[:1], 0.25)])
def test_gcg_elicits_the_second_half_when_the_model_knows_it(
    parts: tuple[str, ...], known: float
) -> None:
    task = tiny_task()
    facts = task.grammar.world.facts_of(task.splits.forget, parts).tolist()
    model = Locked(task, facts, key=single(task, " rock"))
    rows = gcg(model, task, 0, GCGConfig(tokens=2, steps=2, candidates=8, top=4))
    assert [(row.figure, row.value) for row in rows] == [(FACTS, known), (CONTROL, 0.25)]


def test_gcg_attacks_both_kinds_of_model_and_refuses_a_prefix_beyond_the_context() -> None:
    task = tiny_task()
    config = GCGConfig(tokens=2, steps=1, candidates=2, top=2)
    for model in (random_model(task), random_llama(task)):
        rows = gcg(model, task, 0, config)
        assert [row.figure for row in rows] == [FACTS, CONTROL]
        assert rows == gcg(model, task, 0, config)
    with pytest.raises(ValueError, match="fewer tokens to GCG"):
        gcg(random_model(task), task, 0, GCGConfig(tokens=90))
