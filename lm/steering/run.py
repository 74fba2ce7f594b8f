"""A run: train a model of one kind with one seed, and measure how it is steered.

A run resumes from its finished stages: the trained model, its alignments, and each method.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from math import isnan
from pathlib import Path
from typing import Any

import torch

from lm.data.files import checksums
from lm.models.language_model import LanguageModel
from lm.stages import Stages
from lm.steering.config import RunConfig
from lm.steering.corpus import Corpus, load_corpus
from lm.steering.evaluation import (
    Point,
    absorption,
    alignments,
    at_budget,
    curve,
    measure,
    ranked,
    sample,
)
from lm.steering.training import Kind, train_model
from lm.steering.vectors import (
    METHODS,
    Source,
    make_vectors,
    output_embeddings,
    residual_norms,
    steered,
)
from oversight.runs.folder import as_read

Report = Callable[[str, float], None]
"""Called with the stage and the share of the run that is done."""

TOP = 30
"""Number of tokens of a ranking that a result holds."""
TRAINING = 0.6
"""Share of the time of a run that training takes, about."""


def run_identity(config: RunConfig, kind: Kind, seed: int) -> dict[str, Any]:
    """Return what determines the result of a run, as plain data.

    Raises:
        ValueError: if a file of the texts is no longer there.
    """
    texts = {name: sha for path in config.corpus.texts for name, sha in checksums(path).items()}
    settings = asdict(config)
    settings["loop"] = config.loop.identity | {"scale": settings["loop"]["scale"]}
    return {**as_read(settings), "kind": kind, "seed": seed, "files": texts}


def run(config: RunConfig, kind: Kind, seed: int, folder: Path, report: Report) -> dict[str, Any]:
    """Train and measure a model; finished stages in the folder are not repeated.

    Raises:
        ValueError: if the folder holds another run, or training diverged.
    """
    corpus = load_corpus(config, seed)
    stages = Stages(folder, run_identity(config, kind, seed))

    def trained() -> LanguageModel:
        return train_model(
            config, corpus, kind, seed, folder, lambda share: report("train", TRAINING * share)
        )

    model = stages.model("trained", trained)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    result = {
        "kind": kind,
        "seed": seed,
        "natural_rate": corpus.share,
        **stages.record("alignment", lambda: _aligned(config, model, corpus, seed)),
    }
    blocks = config.steering.candidates(len(model.layers()))
    source = Source(model, corpus, blocks, config.steering.pairs, config.route.dimension, seed)
    steering = {}
    for number, method in enumerate(METHODS[kind]):
        report(method, TRAINING + (1 - TRAINING) * number / len(METHODS[kind]))
        steering[method] = stages.record(method, partial(_steer, config, source, method))
    result |= {"steering": steering, "seconds": stages.seconds}
    stages.write_result(result)
    return result


def _aligned(config: RunConfig, model: LanguageModel, corpus: Corpus, seed: int) -> dict[str, Any]:
    """Return what a model's output embeddings say of the dimension, and its loss and samples.

    The control is the mean over all other dimensions, each with the sign of the concept there.
    """
    embeddings, dimension = output_embeddings(model), config.route.dimension
    among, concept = corpus.counts > 0, corpus.concept
    others = [
        absorption(embeddings, other, concept, among)
        for other in range(model.width)
        if other != dimension
    ]
    values = alignments(embeddings, dimension, concept.tokens)
    settings = config.steering
    sampled = settings.samples and sample(
        model, corpus, settings.samples, settings.sample_length, seed
    )
    return {
        "measures": measure(model, corpus.held_out, concept)._asdict(),
        "vocabulary": int(among.sum()),
        "ranks": dict(absorption(embeddings, dimension, concept, among)),
        "random_dimension_ranks": {
            name: sum(each[name] for each in others) / len(others) for name in others[0]
        },
        "top": ranked(values, corpus.vocabulary, among, TOP),
        "samples": sampled._asdict() if sampled else None,
    }


def _steer(config: RunConfig, source: Source, method: str) -> dict[str, Any]:
    """Return the curve of a method on held-out texts, at the block that is best on other texts."""
    settings, model, corpus = config.steering, source.model, source.corpus
    vectors = make_vectors(method, source)
    norms = residual_norms(model, corpus.choice, source.blocks)
    steps = {block: (vectors[block] * norms[block]).to(model.device) for block in source.blocks}

    def points(rows: torch.Tensor, block: int, coefficients: tuple[float, ...]) -> list[Point]:
        return curve(model, rows, corpus.concept, steps[block], block, (0.0, *coefficients))

    budget = settings.sample_budget
    chosen = {
        block: at_budget(points(corpus.choice, block, settings.coefficients), budget)
        for block in source.blocks
    }
    best = max(source.blocks, key=lambda block: (not isnan(chosen[block].rate), chosen[block].rate))
    final = points(corpus.held_out, best, settings.coefficients)
    used = at_budget(final, budget)
    sampled = None
    if settings.samples and not isnan(used.coefficient):
        with steered(model, best, used.coefficient * steps[best]):
            sampled = sample(
                model, corpus, settings.samples, settings.sample_length, source.seed
            )._asdict()
    return {
        "block": best,
        "choice": {str(block): found.rate for block, found in chosen.items()},
        "curve": [point._asdict() for point in final],
        "budgets": [
            {"budget": each, **at_budget(final, each)._asdict()} for each in settings.budgets
        ],
        "samples": sampled,
        "vector_sha256": sha256(steps[best].cpu().numpy().tobytes()).hexdigest(),
    }
