"""Print what no command of the language models prints: stories, their tokens, and classified ones.

The process starts in the checkout under test, whose modules it imports by `names.load`.
"""

import hashlib
import json

import numpy as np
import torch

from tests.equality.hashing import array_digest
from tests.equality.names import keywords, load, renamed

STORIES = 1000


def main() -> None:
    """Print a JSON object."""
    grammar = load("lm.corpus:make_grammar")(load("lm.corpus:make_world")(seed=0))
    texts = list(load("lm.corpus:tell")(grammar, STORIES, np.random.default_rng(3)).texts())
    tokenizer = load("lm.corpus:story_tokenizer")(grammar, 400)
    print(
        json.dumps(
            {
                "stories": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
                "tokenizer": tokenizer.to_str(),
                "end": load("lm.corpus:END"),
                "classified": {
                    errors: classified(recall, errors)
                    for recall, errors in ((0.5, "iid"), (0.8, "topic"))
                },
            }
        )
    )


def classified(recall: float, errors: str) -> dict[str, object]:
    """Return what the classifier makes of imperfect labels: digest and counts of each outcome."""
    task = load("lm.task:make_task")(load("lm.task:TaskConfig")())
    rows = getattr(task, renamed("lm.task:Task.tell").rpartition(".")[2])(STORIES, [0])
    quality = load("lm.labels:LabelConfig")(**keywords(recall=recall, errors=errors))
    labeled = load("lm.labels:story_labels")(task, rows, quality, 0)
    outcome: torch.Tensor = load("lm.judge:judge")(rows, labeled, task.vocab_size, 0)
    return {
        "given": array_digest(labeled),
        "classified": array_digest(outcome),
        "counts": torch.bincount(outcome, minlength=3).tolist(),
    }


if __name__ == "__main__":
    main()
