"""Linear probes and the logit lens: values in the residual stream that the model withholds.

A probe reads the residual stream at the last token of a prompt that names an entity and breaks off
before its value, and predicts the value. It must not be tested on entities that it was fitted to:
any features that distinguish entities, even random ones, let a probe memorize their values. So it
is fitted to the facts of all other topics and of one half of those to forget, and tested on the
other half, whose entities it has never seen; then the halves are swapped. It can only be right if
the model itself represents a value in the direction in which it represents the values of facts that
it knows. Gold does not represent the facts to forget, so what a probe finds beyond what it finds in
gold was not removed.

The control is fitted to the same features with the values shuffled among the facts of a relation
(control tasks of Hewitt and Liang 2019, arXiv 1909.03368). It is at chance unless the probe can
succeed without knowledge; the lead of the probe over it is its selectivity.

The logit lens applies the output head to the residual stream before the last layer (nostalgebraist
2020, "interpreting GPT: the logit lens"). Knowledge that late layers suppress shows in earlier ones
(Lucki et al. 2024, arXiv 2409.18025).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lm.attacks.config import ProbeConfig
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
        train: the features to fit, [m, d].
        labels: the classes of `train`, [m], at least two different ones.
        test: the features to classify, [n, d].
        classes: number of classes; those without a label get log-probability -inf.
        ridge: weight of the squared weights, above 0, so that the solution is unique also where
            classes can be separated.
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


def probe(
    model: LanguageModel, task: Task, seed: int, config: ProbeConfig | None = None
) -> list[Row]:
    """Return the share of facts to forget that a probe of each layer predicts, and its control."""
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
            share = float(torch.cat(credits).mean())
            found.append(Row("probe", {"layer": layer}, figure, share))
    return found


@torch.no_grad()
def residuals(model: LanguageModel, texts: Sequence[Text], batch_size: int = 256) -> list[Tensor]:
    """Return each layer's residual stream at the last token of texts, [n, d] float64 on the CPU."""
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
    """Return the credit of each question of `asked`, [n], for probes fitted to all other facts.

    There is one probe for each relation; it answers with the most likely of the four choices.
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
    """Return the index of each question's value, permuted among facts if `shuffle` is given."""
    right = {question.fact: question.cloze_answer for question in questions}
    if shuffle is not None:
        right = dict(zip(right, shuffle.permutation(list(right.values())).tolist(), strict=True))
    return torch.tensor([right[question.fact] for question in questions])


def logit_lens(model: LanguageModel, quiz: Quiz) -> list[Row]:
    """Return the share of questions answered correctly from the residual stream of each layer.

    The share of the last layer is that of the model itself.
    """
    return [
        Row("logit-lens", {"layer": layer}, FACTS, score(model, quiz, layer=layer).choice)
        for layer in range(len(model.layers()))
    ]
