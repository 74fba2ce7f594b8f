"""Inspection of a pretrained model with a pair of adapters, against plain transformers."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from lm.data.task import StoryRows
from lm.evaluation.topic_exam import make_topic_exam
from lm.finished import read_run
from lm.models.language_model import IGNORED
from lm.pretraining import load_task
from lm.task import StoryTask
from lm.unlearn import main as run_unlearn
from oversight import inspect
from oversight.runs import cli
from oversight.runs.folder import read_json
from tests.lm.models.hf_factories import transformers
from tests.lm.test_unlearn_pretrained import pretrained

__all__ = ["pretrained"]
FLAGS = (
    *("--config", "smoke", "--method", "lora-pair", "--workers", "1", "--keep-weights"),
    *("--adapters.rank", "2", "--adapters.alpha", "20"),
    *("--loop.steps", "6", "--loop.learning-rate", "0.05"),
    *("--exam.questions", "3", "--exam.calibration.steps", "5", "--exam.stories", "6"),
)
ADAPTER = re.compile(r"(.+?)\.(?:kept|added\.(\w+)\.plain)\.lora_a\.weight")


@pytest.fixture(scope="module")
def run(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an inspected run, whose weights are so large that they must be kept."""
    folder = tmp_path_factory.mktemp("study") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.run.LARGE", 1)
        patch.setattr("lm.study.execute", lambda work, jobs, **_: map(work, jobs))
        flags = [*FLAGS, "--model", str(pretrained), "--run-dir", str(folder)]
        assert cli.run(run_unlearn, flags) == 0
    assert cli.run(inspect.main, [str(folder), "--texts", "6", "--examples", "2"]) == 0
    return folder / "runs" / "lora-pair-seed0"


@pytest.fixture(scope="module")
def found(run: Path) -> dict[str, Any]:
    return read_json(run / "inspect" / "inspection.json")


def merged(run: Path, pretrained: Path, *modules: str) -> torch.nn.Module:
    """Return a plain Llama with the adapter to keep, and those of some modules, added by hand."""
    saved = load_file(run / "trained.safetensors")
    weights: dict[str, Tensor] = {
        _plain(name): tensor.clone() for name, tensor in saved.items() if ".lora_" not in name
    }
    for name, down in saved.items():
        match = ADAPTER.fullmatch(name)
        if match and (match[2] is None or match[2] in modules):
            up = saved[name.replace("lora_a", "lora_b")]
            weights[_plain(f"{match[1]}.weight")] += 20 / 2 * up @ down
    model: torch.nn.Module = transformers.LlamaForCausalLM(
        transformers.LlamaConfig.from_pretrained(pretrained)
    )
    model.load_state_dict(weights)
    return model


def _plain(name: str) -> str:
    """Return the name that a weight has without gates around its module."""
    return name.removeprefix("causal_lm.").replace(".plain", "")


@torch.no_grad()
def losses(model: torch.nn.Module, rows: StoryRows) -> Tensor:
    """Return the cross-entropy of each token, [n, t]; 0 after a text."""
    logits = model(rows.inputs).logits
    return F.cross_entropy(
        logits.transpose(1, 2), rows.targets, reduction="none", ignore_index=IGNORED
    )


def test_page_names_the_module_and_what_stays(run: Path, found: dict[str, Any]) -> None:
    assert (run / "trained.safetensors").exists()
    page = (run / "inspect" / "index.html").read_text(encoding="utf-8")
    assert "What each module of lora-pair learned" in page
    assert "Module expansion" in page
    assert list(found["modules"]) == ["expansion"]
    assert list(found["gradient_norms"]["forget"]) == ["core", "expansion"]
    assert found["gradient_norms"]["forget"]["core"] == 0
    assert found["gradient_norms"]["retain"]["expansion"] == 0
    assert found["gradient_norms"]["retain"]["core"] > 0


def test_effect_of_the_ablation_is_that_of_an_adapter_left_out_in_transformers(
    run: Path, found: dict[str, Any], pretrained: Path
) -> None:
    finished = read_run(run)
    task = load_task(finished.config)
    assert isinstance(task, StoryTask)
    exam = make_topic_exam(task, 0, finished.config.exam)
    whole, without = merged(run, pretrained, "expansion"), merged(run, pretrained)
    for number, section in enumerate(exam.sections):
        rows = exam.rows.take(exam.of_row == number)
        read = rows.targets != IGNORED
        before, after = (losses(model, rows) for model in (whole, without))
        loss = found["ablation"]["whole"][section]["loss"]
        assert loss == pytest.approx(float(before[read].mean()), rel=1e-5)
        loss = found["ablation"]["without expansion"][section]["loss"]
        assert loss == pytest.approx(float(after[read].mean()), rel=1e-5)
    assert exam.sections[-1] == "forest"  # which the module is about
    increase = float((after - before)[read].mean())
    assert abs(increase) > 1e-3
    effect = found["modules"]["expansion"]
    assert effect["mean_increase"] == pytest.approx(increase, abs=1e-5)
    by_text = (after - before).sum(1).tolist()
    assert effect["increase_of_texts"] == pytest.approx(by_text, abs=1e-3)
