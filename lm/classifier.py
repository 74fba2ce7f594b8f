"""A document classifier that is trained on imperfect labels, and replaces them where it is good.

The classifier sees which tokens a text has, and on request which pairs of adjacent tokens. If they
do not tell the topic, or the labels are random, it learns nothing, and its labels would remove
texts at random. So its quality is measured on the given labels of texts that it was not trained on,
and below `LEAST_AUC` they are kept. Errors that texts have in common, such as all labels of an
entity missing, are learned like the topic: they do not lower this figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.data.task import StoryRows
from lm.training.route_tables import FORGET, LABELS, RETAIN, UNLABELED

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Reads = Literal["tokens", "pairs"]
"""What a classifier sees of a text: its tokens, or also its pairs of adjacent tokens."""

BUCKETS = 2**18
"""Number of features that pairs of tokens are hashed to."""
_HASH = 1_000_003

FOLDS = 5
"""Number of parts of the texts; a regression fitted to the other parts classifies each part."""
PENALTY = 1e-3
"""Weight of the squared norm of the regression's weights relative to its mean loss."""
UNSURE = 0.25
"""Probability from which a text is no longer labeled retain."""

LEAST_AUC = 0.7
"""The held-out AUC from which on the labels of the classifier are used.

The AUC is measured against the given labels, whose errors lower it: with half of the texts to
forget labeled, or half of the labels wrong, a perfect classifier has about 0.75 to 0.95."""
DEVIATIONS = 3.0
"""By how many standard deviations the AUC must exceed that of chance, so that it is not luck."""
MOST_MARKED = 0.5
"""The largest share of the texts not labeled forget that the classifier may label so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What a classifier labeled, and how well it predicts the given labels of held-out texts."""

    auc: float
    """Probability that a text labeled forget is ranked above another one, 0.5 by chance; NaN where
    all texts have one label."""
    given: int
    """Number of texts labeled forget by the given labels."""
    marked: Mapping[str, int]
    """Number of texts by the label that the classifier gave."""
    added: int
    """Number of texts that the classifier labeled forget, and the given labels did not."""
    rarest: int | None = None
    """Number of texts labeled with the rarest topic, if there are several; then `auc` is the least
    of the AUCs of the topics, each against all other texts."""

    @property
    def texts(self) -> int:
        """The number of texts."""
        return sum(self.marked.values())

    @property
    def flaw(self) -> str | None:
        """Why the labels of the classifier are not to be used; None if they are."""
        others = self.texts - self.given
        if not self.given or not others:
            return f"{self.given} of {self.texts} texts are labeled forget"
        if self.rarest == 0:
            return "a topic has no labeled text"
        if self.auc < LEAST_AUC:
            return f"its held-out AUC is {self.auc:.2f}, below {LEAST_AUC:g}"
        few = self.given if self.rarest is None else self.rarest
        chance = sqrt((self.texts + 1) / (12 * few * (self.texts - few)))
        if self.auc < 0.5 + DEVIATIONS * chance:
            return f"its held-out AUC of {self.auc:.2f} may be chance on {few} labels"
        if self.added > MOST_MARKED * others:
            return (
                f"it marked {self.added} of the {others} texts not labeled forget, more than "
                f"{MOST_MARKED:.0%}"
            )
        return None

    def as_result(self) -> dict[str, Any]:
        """Return plain data for the result of a run."""
        return {**asdict(self), "used": self.flaw is None, "flaw": self.flaw}


def quality_sentence(result: Mapping[str, Any]) -> str:
    """Return what a classifier did in a run, from the plain data of its quality."""
    marked, auc = result["marked"], result["auc"]
    counts = ", ".join(f"{marked[name]} {name}" for name in ("forget", "retain", "unlabeled"))
    known = "unknown" if auc is None else f"{auc:.3f}"
    did = (
        f"the classifier labeled {counts}, where {result['given']} were labeled forget; its "
        f"held-out AUC is {known}"
    )
    if result["used"]:
        return f"{did}."
    return f"{did}. Its labels were not used, and the given ones were kept: {result['flaw']}."


def quality_lines(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each run whose classifier was not used, and one for those of all others."""
    found = [each for each in results if each.get("classifier")]
    used = [each["classifier"] for each in found if each["classifier"]["used"]]
    warnings = [
        f"warning: {each['method']}, seed {each['seed']}, label recall {each['label_recall']:g}: "
        f"{quality_sentence(each['classifier'])}"
        for each in found
        if not each["classifier"]["used"]
    ]
    lines = list(dict.fromkeys(warnings))  # runs of a sweep may have the same labels
    if len(used) == 1:
        lines.append(f"labels: {quality_sentence(used[0])}")
    elif used:
        aucs = [each["auc"] for each in used]
        shares = [each["marked"]["forget"] / each["given"] for each in used]
        lines.append(
            f"labels: the classifiers of {len(used)} runs labeled {min(shares):.2f} to "
            f"{max(shares):.2f} times as many texts forget as were labeled so; their held-out AUC "
            f"is {min(aucs):.3f} to {max(aucs):.3f}."
        )
    return lines


@dataclass(frozen=True, eq=False)
class Classified:
    """Texts as a classifier labels them."""

    labels: Tensor
    """[n] int64: `FORGET` + k where the probability of topic k is above one half, `UNLABELED` where
    that of all topics is above `UNSURE`, `RETAIN` below."""
    quality: Quality


def classify_documents(
    rows: StoryRows, labeled: Tensor, vocab_size: int, seed: int, reads: Reads = "tokens"
) -> Classified:
    """Return the labels of texts by the predicted probability that they are to be forgotten.

    A logistic regression on the tokens that a text contains is trained on the labels. If labels are
    missing at random, it predicts the probability that a text is labeled. That is the probability
    that the text is to be forgotten times the label recall, which is estimated by the mean
    prediction for labeled texts (Elkan and Noto 2008, "Learning classifiers from only positive and
    unlabeled data"). The label of a text is not used to classify it, so that wrong labels can be
    corrected. Several topics are predicted by one regression, and each has a recall of its own.

    Args:
        rows: the texts.
        labeled: the topic that each text is labeled with, from 1 on, 0 without a label, [n]; or
            which texts are labeled forget, [n] bool.
        vocab_size: number of tokens of the vocabulary.
        seed: seed of the assignment of texts to parts.
        reads: what the regression sees of a text.

    Raises:
        ValueError: if the number of labels is not the number of texts, or there are fewer texts
            than parts.
    """
    if labeled.shape != rows.topics.shape or len(rows) < FOLDS:
        raise ValueError(
            f"labels of shape {tuple(labeled.shape)} were given for {len(rows)} stories: give "
            f"each story one label, and {FOLDS} stories or more"
        )
    topic = labeled.long()
    if not topic.any():
        return _classified(torch.full(labeled.shape, RETAIN), topic, nan)
    generator = torch.Generator().manual_seed(seed)
    fold = torch.randperm(len(rows), generator=generator) % FOLDS
    predicted_nk = _label_probabilities(features(rows, vocab_size, reads), topic, fold)
    own = [topic == number for number in range(1, predicted_nk.shape[1] + 1)]
    recall_k = [predicted_nk[each, k].mean() if each.any() else 1.0 for k, each in enumerate(own)]
    probability_nk = predicted_nk / torch.tensor(recall_k, dtype=predicted_nk.dtype)
    unsure = torch.where(probability_nk.sum(1) > UNSURE, UNLABELED, RETAIN)
    most_n, best_n = probability_nk.max(1)
    labels = torch.where(most_n > 0.5, FORGET + best_n, unsure)
    aucs = [_auc(predicted_nk[:, k], each) for k, each in enumerate(own)]
    return _classified(labels, topic, min(aucs))


def _classified(labels: Tensor, topic: Tensor, auc: float) -> Classified:
    counts = torch.bincount(labels.clamp(max=FORGET), minlength=len(LABELS)).tolist()
    of_topic = torch.bincount(topic)[1:].tolist()
    quality = Quality(
        auc=auc,
        given=int((topic > 0).sum()),
        marked=dict(zip(LABELS, counts, strict=True)),
        added=int(((labels >= FORGET) & (topic == 0)).sum()),
        rarest=min(of_topic) if len(of_topic) > 1 else None,
    )
    return Classified(labels, quality)


def _auc(predicted: Tensor, labeled: Tensor) -> float:
    if labeled.all() or not labeled.any():
        return nan
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 (slow to import)

    return float(roc_auc_score(labeled.numpy(), predicted.numpy()))


def features(rows: StoryRows, vocab_size: int, reads: Reads = "tokens") -> "csr_array":
    """Return whether each text has each token, or also each pair of tokens, [n, features]."""
    from scipy.sparse import csr_array  # noqa: PLC0415 (slow to import, as scikit-learn is)

    tokens = rows.inputs.numpy().astype(np.int32)
    if reads == "tokens":
        return csr_array(_present(tokens), shape=(len(rows), vocab_size))
    pairs = (tokens[:, :-1].astype(np.int64) * _HASH + tokens[:, 1:]) % BUCKETS + vocab_size
    both = np.concatenate([tokens, pairs.astype(np.int32)], axis=1)
    return csr_array(_present(both), shape=(len(rows), vocab_size + BUCKETS))


def _label_probabilities(features: "csr_array", topic: Tensor, fold: Tensor) -> Tensor:
    """Return the probability that each text is labeled with each topic, [n, k] float64.

    It is fitted to the other folds.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 (slow to import)

    probability_nk = torch.zeros(len(topic), int(topic.max()) + 1, dtype=torch.float64)
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        labels = topic[train]
        if not (labels != labels[0]).any():  # one class, which the library does not fit
            probability_nk[test, labels[0]] = 1.0
            continue
        # scikit-learn minimizes the summed cross-entropy times C, plus half the squared weights
        regression = LogisticRegression(C=1 / (2 * PENALTY * len(labels)), max_iter=1000)
        regression.fit(features[train.numpy()], labels.numpy())
        predicted = torch.from_numpy(regression.predict_proba(features[test.numpy()]))
        probability_nk[test.nonzero(), torch.from_numpy(regression.classes_)] = predicted
    return probability_nk[:, 1:]


def _present(
    numbers: NDArray[np.int32],
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]:
    """Return the numbers in each row, each once, as the arrays of a sparse matrix of ones."""
    tokens = np.sort(numbers, axis=1)
    first = np.ones(tokens.shape, bool)
    first[:, 1:] = tokens[:, 1:] != tokens[:, :-1]
    starts = np.concatenate([[0], np.cumsum(first.sum(1))]).astype(np.int32)
    return np.ones(int(starts[-1])), tokens[first], starts
