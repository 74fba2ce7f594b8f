"""Linear probes: whether the values of facts to forget are in the residual stream, if not told.

A probe reads the residual stream at the last token of a prompt that names an entity and breaks
off before its value, and is asked which value follows. It may not be asked about entities that it
was fitted to: any features that tell entities apart, even random ones, let a probe learn their
values by heart. So it is fitted to the facts of all other topics and of one half of those to
forget, and asked for the other half, whose entities it has never seen; then the halves change
places. It can only be right where the model itself has put a value into its features in the
direction in which it does so for facts that it knows. Gold has nothing to put there for facts to
forget, so what a probe finds beyond what it finds in gold was not removed.

The control is fitted to the same features with the values shuffled among the facts of a relation
(control tasks of Hewitt and Liang 2019, arXiv 1909.03368): it is at chance if nothing but
knowledge can be read, and the probe's selectivity is its lead over it.

The logit lens: what the output head reads in the residual stream before the last layer.

After nostalgebraist 2020, "interpreting GPT: the logit lens". Knowledge that late layers suppress
shows in earlier ones (Lucki et al. 2024, arXiv 2409.18025).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lm.attacks.prompting import STREAM, ask, prompted
from lm.attacks.results import CONTROL, FACTS, Row
from lm.corpus import HALVES, Question
from lm.data.task import Task
from lm.evaluation.likelihoods import Text
from lm.evaluation.quiz import Quiz, credit, score
from lm.models.language_model import LanguageModel


def class_log_probabilities(
    train: Tensor, labels: Tensor, test: Tensor, classes: int, ridge: float
) -> Tensor:
    """Fit a multinomial logistic regression, and return what it predicts, [n, classes] float64.

    The objective is the mean cross-entropy plus `ridge` times the sum of squared weights, the bias
    left out, on features that are standardized by the training features.

    Args:
        train: features, [m, d].
        labels: their classes, [m]; two different ones or more.
        test: features to classify, [n, d].
        classes: number of classes; those without a label get log-probability -inf.
        ridge: above 0, so that there is one solution also where classes can be separated.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 (slow to import)
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    # scikit-learn minimizes the summed cross-entropy times C, plus half the squared weights
    regression = LogisticRegression(C=1 / (2 * ridge * len(train)), tol=1e-6, max_iter=1000)
    model = make_pipeline(StandardScaler(), regression)
    model.fit(train.double().numpy(), labels.numpy())
    found = torch.full((len(test), classes), -torch.inf, dtype=torch.float64)
    predicted = model.predict_log_proba(test.double().numpy())
    found[:, torch.from_numpy(regression.classes_)] = torch.from_numpy(predicted)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """How a probe is fitted and asked.

    Raises:
        ValueError: if a number is out of its range.
    """

    ridge: float = 0.1
    """weight of the sum of squared weights, beside the mean cross-entropy"""
    rounds: int = 2
    """how often each fact is told to the probe, or asked for, each time in another story"""

    def __post_init__(self) -> None:
        if not self.ridge > 0 or self.rounds < 1:
            raise ValueError(
                f"ridge {self.ridge} and rounds {self.rounds} were given: give one above 0, and 1 "
                "or more"
            )


def probe(
    model: LanguageModel, task: Task, seed: int, config: ProbeConfig | None = None
) -> list[Row]:
    """Return the share of facts to forget that a probe of each layer tells, and its control's.

    Args:
        model: read where it is.
        task: what was to be unlearned.
        seed: of the questions and of the shuffle.
        config: how the probe is fitted.
    """
    config = config or ProbeConfig()
    forget = task.splits.forget
    rest = [topic for topic in task.grammar.world.topics if topic not in forget]
    known = ask(task, [seed, 3], rest, rounds=config.rounds)
    halves = [
        ask(task, [seed, 4 + number], parts=[half], rounds=config.rounds)
        for number, half in enumerate(HALVES)
    ]
    every = [*known, *halves[0], *halves[1]]
    by_layer = residuals(model, [prompted(task, question.prompt) for question in every])
    found = []
    for layer, features in enumerate(by_layer):
        for figure in (FACTS, CONTROL):
            shuffle = None if figure == FACTS else np.random.default_rng([seed, STREAM, 6])
            credits = [_credit(features, every, half, config, shuffle) for half in halves]
            told = float(torch.cat(credits).mean())
            found.append(Row("probe", {"layer": layer}, figure, told))
    return found


@torch.no_grad()
def residuals(model: LanguageModel, texts: Sequence[Text], batch_size: int = 256) -> list[Tensor]:
    """Return what each layer leaves at the last token of texts, [n, d] float64 on the CPU."""
    parts = []
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        lengths = torch.tensor([len(text) for text in batch])
        filled = [[*text, *[0] * (int(lengths.max()) - len(text))] for text in batch]
        last = torch.arange(len(batch)), lengths - 1
        read = model.residuals(torch.tensor(filled, device=model.device))
        parts.append([x_btd[last].double().cpu() for x_btd in read])
    return [torch.cat(layer) for layer in zip(*parts, strict=True)]


def _credit(
    features: Tensor,
    every: Sequence[Question],
    asked: Sequence[Question],
    config: ProbeConfig,
    shuffle: np.random.Generator | None,
) -> Tensor:
    """Return the credit of each question asked, [n], of probes fitted to the facts of all others.

    One probe for each relation; the answer is the likeliest of the four choices.
    """
    held = {question.fact for question in asked}
    credits = []
    for relation in sorted({question.relation for question in asked}):
        mine = [row for row, question in enumerate(every) if question.relation == relation]
        seen = [row for row in mine if every[row].fact not in held]
        new = [row for row in mine if every[row].fact in held]
        values = _values([every[row] for row in seen], shuffle)
        classes = len(every[mine[0]].values)
        scores = class_log_probabilities(
            features[seen], values, features[new], classes, config.ridge
        )
        choices = torch.tensor(
            [[every[row].values.index(choice) for choice in every[row].choices] for row in new]
        )
        answers = torch.tensor([every[row].answer for row in new])
        credits.append(credit(scores.gather(1, choices), answers))
    return torch.cat(credits)


def _values(questions: Sequence[Question], shuffle: np.random.Generator | None) -> Tensor:
    """Return the number of each question's value, or that of another fact of its relation."""
    right = {question.fact: question.cloze_answer for question in questions}
    if shuffle is not None:
        right = dict(zip(right, shuffle.permutation(list(right.values())).tolist(), strict=True))
    return torch.tensor([right[question.fact] for question in questions])


def logit_lens(model: LanguageModel, quiz: Quiz) -> list[Row]:
    """Return the share of questions that are answered right by what each layer leaves.

    That of the last layer is the model's own.
    """
    return [
        Row("logit-lens", {"layer": layer}, FACTS, score(model, quiz, layer=layer).choice)
        for layer in range(len(model.layers()))
    ]
