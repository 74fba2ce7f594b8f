"""What lm-evaluation-harness makes of questions, and its figures as a file.

`python -m tests.lm.benchmarks.harness` writes the file anew; it needs the extra `eval`.
"""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from lm.benchmarks.questions import Question
from tests.lm.benchmarks.made import made_model, made_questions, made_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STORED = Path(__file__).parent / "harness.json"
STORED_QUESTIONS = 200
_LISTED: dict[str, Any] = {
    "description": "The following are multiple choice questions (with answers) about {}.\n\n",
    "doc_to_text": (
        "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\n"
        "C. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:"
    ),
}
TASKS: dict[str, dict[str, Any]] = {
    "letter": {**_LISTED, "doc_to_choice": ["A", "B", "C", "D"]},
    "answer": {**_LISTED, "doc_to_choice": "{{choices}}"},
    "cloze": {
        "description": "The following are questions (with answers) about {}.\n\n",
        "doc_to_text": "Question: {{question.strip()}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
    },
}
"""The harness's own templates of wmdp and mmlu, that with the text of a choice, and its own of
mmlu_continuation."""


def harness_samples(
    model: "tuple[PreTrainedModel, PreTrainedTokenizerBase]",
    form: str,
    questions: list[Question],
    shots: list[Question],
    folder: Path,
) -> list[dict[str, Any]]:
    """Return what the harness logs of each question, in order."""
    from lm_eval import simple_evaluate  # noqa: PLC0415
    from lm_eval.models.huggingface import HFLM  # noqa: PLC0415

    path = folder / f"{form}.jsonl"
    path.write_text("".join(json.dumps(asdict(each)) + "\n" for each in questions))
    subject = questions[0].subject.replace("_", " ")
    task = {
        **TASKS[form],
        "task": form,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}, "cache_dir": str(folder)},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_target": "answer",
        "description": TASKS[form]["description"].format(subject) if subject else "",
        "fewshot_config": {"sampler": "first_n", "samples": [asdict(one) for one in shots]},
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    found = simple_evaluate(
        model=HFLM(pretrained=model[0], tokenizer=model[1], batch_size=1),
        tasks=[task],
        num_fewshot=len(shots),
        log_samples=True,
        bootstrap_iters=0,
    )
    return sorted(found["samples"][form], key=lambda sample: sample["doc_id"])


def likelihoods(samples: list[dict[str, Any]]) -> list[list[float]]:
    """Return the log-likelihood of each choice."""
    return [[float(number) for number, _ in sample["filtered_resps"]] for sample in samples]


def main() -> None:
    """Write the harness's figures."""
    questions = made_questions(STORED_QUESTIONS)
    model = (made_model("llama", torch.float64), made_tokenizer(begins=True))
    with TemporaryDirectory() as folder:
        figures = {
            form: likelihoods(harness_samples(model, form, questions, [], Path(folder)))
            for form in TASKS
        }
    rows = {
        form: ",\n".join(json.dumps([round(number, 9) for number in row]) for row in table)
        for form, table in figures.items()
    }
    tables = ",\n".join(f'"{form}": [\n{text}\n]' for form, text in rows.items())
    STORED.write_text(f'{{"lm_eval": "{version("lm_eval")}",\n{tables}\n}}\n')


if __name__ == "__main__":
    main()
