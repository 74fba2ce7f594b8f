"""How well classifiers tell the topic to forget, for each of what may tell it.

Run as `python -m tests.benchmarks.topic_cues`, with one thread: under two minutes. The first table
has logistic regressions that know the topic of all training stories: on the tokens that a text has,
as `lm.classifier`, on its words, and on its pairs of adjacent words. Their AUC is measured on new
stories about the same entities, and on stories about entities that no training story names. The
second table has what `lm.classifier` makes of imperfect labels by tokens, and by pairs of tokens.
"""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import tyro
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from lm.classifier import PENALTY, Reads, classify_documents, features
from lm.corpus import Cue, StoryDistribution
from lm.data.task import StoryRows, Task, TaskConfig, make_task
from lm.labels import Errors, LabelConfig, story_labels
from lm.training.route_tables import FORGET

CUES: tuple[Cue, ...] = ("words", "entities", "pairs")
FEATURES = ("tokens", "words", "pairs of words")
LABELS: tuple[tuple[float, float, Errors], ...] = (
    (0.5, 1.0, "iid"),
    (0.9, 0.8, "iid"),
    (0.5, 1.0, "topic"),
    (0.5, 1.0, "entity"),
    (0.5, 0.8, "entity"),
)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How much to draw."""

    stories: int = 12_800
    """stories to train on"""
    tested: int = 2000
    """stories to measure on, of each kind"""
    seed: int = 0
    """seed of the stories and labels"""


def texts(task: Task, rows: StoryRows) -> list[str]:
    """Return stories as text."""
    return task.tokenizer.decode_batch([row[row > 0].tolist() for row in rows.tokens])


def features_of(task: Task, kind: str, parts: list[StoryRows]) -> list[csr_array]:
    """Return the features of stories to train on, and of others."""
    if kind == "tokens":
        return [features(rows, task.vocab_size) for rows in parts]
    lengths = (1, 1) if kind == "words" else (2, 2)
    counter = CountVectorizer(binary=True, ngram_range=lengths, token_pattern=r"\w+")
    first, *rest = (texts(task, rows) for rows in parts)
    return [counter.fit_transform(first), *map(counter.transform, rest)]


def aucs(task: Task, kind: str, drawn: Benchmark) -> list[float]:
    """Return the AUC on stories about known entities, and on those about unknown ones."""
    held_out = StoryDistribution(parts=("held_out",), facts_per_story=1)
    train, known, unknown = (
        task.sample(count, [drawn.seed, number], distribution)
        for number, (count, distribution) in enumerate(
            [(drawn.stories, None), (drawn.tested, None), (drawn.tested, held_out)]
        )
    )
    fitted, *measured = features_of(task, kind, [train, known, unknown])
    regression = LogisticRegression(C=1 / (2 * PENALTY * len(train)), max_iter=1000)
    regression.fit(fitted, truth(task, train))
    return [
        float(roc_auc_score(truth(task, rows), regression.decision_function(of)))
        for rows, of in zip([known, unknown], measured, strict=True)
    ]


def truth(task: Task, rows: StoryRows) -> NDArray[np.bool_]:
    """Return which stories are to be forgotten."""
    found: NDArray[np.bool_] = task.to_forget(rows.topics).numpy()
    return found


def corrected(task: Task, config: LabelConfig, reads: Reads, drawn: Benchmark) -> str:
    """Return how good the labels of `lm.classifier` are, as cells of a table."""
    rows = task.sample(drawn.stories, [drawn.seed])
    given = story_labels(task, rows, config, drawn.seed)
    found = classify_documents(rows, given, task.vocab_size, drawn.seed, reads)
    right, forget = task.to_forget(rows.topics), found.labels == FORGET
    hits = int((forget & right).sum())
    recall, precision = hits / int(right.sum()), hits / max(1, int(forget.sum()))
    used = "yes" if found.quality.flaw is None else "no"
    return f"{found.quality.auc:.3f} | {recall:.2f} | {precision:.2f} | {used}"


def measure(drawn: Benchmark) -> None:
    """Print both tables."""
    tasks = {cue: make_task(TaskConfig(topic_cue=cue)) for cue in CUES}
    print(
        "| topic cue | features | AUC, known entities | AUC, unknown entities |\n| - | - | - | - |"
    )
    for cue, task in tasks.items():
        for kind in FEATURES:
            known, unknown = aucs(task, kind, drawn)
            print(f"| {cue} | {kind} | {known:.3f} | {unknown:.3f} |", flush=True)
    names = "topic cue | given labels | reads | held-out AUC | recall | precision | used"
    print(f"\n| {names} |\n| {' | '.join('-' * 7)} |")
    for cue, task in tasks.items():
        for recall, precision, errors in LABELS:
            config = LabelConfig(recall=recall, precision=precision, errors=errors)
            given = f"recall {recall}, precision {precision}, {errors}"
            for reads in get_args(Reads):
                cells = corrected(task, config, reads, drawn)
                print(f"| {cue} | {given} | {reads} | {cells} |", flush=True)


if __name__ == "__main__":
    measure(tyro.cli(Benchmark))
