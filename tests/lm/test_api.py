"""Tests of `unlearn` as a function: its model, questions against a slow reference, and refusals."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lm
from lm import unlearn
from lm.api import Unlearned
from lm.config import RunConfig, StudyConfig
from lm.evaluation.quiz import prompt_of
from lm.methods import METHODS
from lm.models import files
from lm.models.language_model import IGNORED
from lm.pretraining import load_task
from oversight.runs.folder import RunFolder, read_config, read_json
from tests.lm.models.hf_factories import CONFIGS, transformers
from tests.lm.text_factories import FORGET, QUESTIONS, RETAIN, SETTINGS, tiny_model, tokenizer

Settings = dict[str, Any]
NATS = 1e-5
# the others take 3 s each, and `tests/lm/models/test_hf.py` contracts models of all families
QUICK = ("llama", "gpt2", "unknown_family")


def call(folder: Path, **given: Any) -> Unlearned:  # noqa: ANN401
    """Unlearn the small texts, or others that are given."""
    texts: Settings = {"forget": FORGET, "retain": RETAIN}
    model = given.pop("model", None) or tiny_model()
    return unlearn(model, tokenizer(), run_dir=folder, **{**texts, **SETTINGS, **given})


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Unlearned:
    """Return what became of a model that two adapters were trained on."""
    folder = tmp_path_factory.mktemp("routed")
    return call(folder, questions=QUESTIONS, retain_questions=QUESTIONS[:3])


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Unlearned:
    """Return what became of a model as it is."""
    given: Settings = {"method": "npo", "loop.steps": 0, "repair.steps": 0}
    return call(tmp_path_factory.mktemp("known"), questions=QUESTIONS, **given)


def result_of(study: Unlearned, method: str) -> dict[str, Any]:
    return read_json(study.folder / "runs" / f"{method}-seed0" / "result.json")


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    """Return the logits of a plain or routed model on a text."""
    read = model(torch.tensor([tokenizer()(RETAIN[0])["input_ids"]]))
    return read if isinstance(read, Tensor) else read.logits


@pytest.mark.parametrize(
    "family",
    [pytest.param(each, marks=[pytest.mark.slow] * (each not in QUICK)) for each in CONFIGS],
)
def test_plain_model_has_the_logits_of_the_studys_own_to_the_bit(
    family: str, routed: Unlearned, tmp_path: Path
) -> None:
    found = routed if family == "llama" else call(tmp_path, model=tiny_model(family))
    own = files.load(found.folder / "runs" / "lora-pair-seed0" / "model.safetensors")
    assert torch.equal(logits(found.model), logits(own))
    assert type(found.model) is type(tiny_model(family))
    assert not torch.equal(logits(found.model), logits(tiny_model(family)))
    assert found.tokenizer.get_vocab() == tokenizer().get_vocab()


def test_routed_methods_come_with_both_references(routed: Unlearned) -> None:
    rows = [line.split() for line in routed.table.splitlines()]
    methods = [row[0] for row in rows if len(row) == 9 and row[0] in {"method", *METHODS}]
    assert methods == ["method", "gold", "unrouted", "lora-pair"]
    assert "facts: multiple choice, 42% by guessing; forget:" in " ".join(routed.table.split())
    assert routed.verdict.startswith("Of the area between the relearning curves")
    assert " in loss" in routed.verdict
    assert "Only what this training taught can be removed" in routed.card
    assert "| forget facts known |" in routed.card
    assert "Of the texts, 21 were trained on" in routed.card
    assert "base_model: model\n" in routed.card


def test_model_as_it_is_is_its_own_reference(known: Unlearned) -> None:
    plain = transformers.AutoModelForCausalLM.from_pretrained(
        known.folder / "runs" / "unrouted-seed0" / "plain"
    )
    assert torch.equal(logits(plain), logits(tiny_model()))
    assert not torch.equal(logits(known.model), logits(plain))
    first, last = (result_of(known, "npo")["forget_loss"][stage] for stage in ("before", "after"))
    assert first == result_of(known, "unrouted")["forget_loss"]["repaired"] < last
    facts = result_of(known, "npo")["mcq_forget"]
    assert f"npo: forget loss {first:.3f} before, {last:.3f} after" in known.verdict
    assert f"forget facts {facts['before']:.0%}, {facts['repaired']:.0%} and" in known.verdict
    assert "(42% by guessing)" in known.verdict
    assert "What the model knew before counts as well." in known.card
    assert "The model as it is; then negative preference optimization" in known.card


@torch.no_grad()
def share_right(model: nn.Module, start: int) -> float:
    """Return the share of the questions that a model answers right, token by token."""
    right = []
    for record in QUESTIONS:
        prompt = prompt_of({"subject": "", **record})
        found = []
        for choice in record["choices"]:
            before, whole = (
                tokenizer()(text, add_special_tokens=False)["input_ids"]
                for text in (prompt, f"{prompt} {choice}")
            )
            read = model(torch.tensor([[start, *whole]]))
            table = torch.log_softmax((read if isinstance(read, Tensor) else read.logits)[0], -1)
            found.append(sum(float(table[n, whole[n]]) for n in range(len(before), len(whole))))
        right.append(found.index(max(found)) == record["answer"])
    return float(sum(right) / len(right))


def config_of(study: Unlearned) -> RunConfig:
    return read_config(RunFolder(study.folder), StudyConfig).run


def test_words_of_a_field_are_forgotten_and_texts_relearned_from(tmp_path: Path) -> None:
    forget = [{"text": text, "name": "silver"} for text in FORGET]
    given: Settings = {"method": "npo", "loop.steps": 0, "forget_field": "name"}
    given |= {"relearn": FORGET[:4], "relearn_questions": QUESTIONS[:3], "questions": QUESTIONS}
    found = call(tmp_path, forget=forget, **given)
    assert "half" in {curve["attack"] for curve in result_of(found, "npo")["curves"]}
    labeler = read_json(found.folder / "data" / "manifest.json")["settings"]["labeler"]
    assert labeler["labeler"] == "words"
    with pytest.raises(ValueError, match="text 0 to forget has no field 'nam', only text: name"):
        call(tmp_path / "other", forget=forget, **{**given, "forget_field": "nam"})


def test_questions_are_asked_as_by_a_slow_reference(routed: Unlearned) -> None:
    run, found = routed.folder / "runs" / "lora-pair-seed0", result_of(routed, "lora-pair")
    start = load_task(config_of(routed)).start
    trained, ablated = (files.load(run / f"{name}.safetensors") for name in ("trained", "ablated"))
    expected = {"before": trained, "after": ablated, "repaired": routed.model}
    shares = {stage: share_right(model, start) for stage, model in expected.items()}
    assert found["mcq_forget"] == pytest.approx(shares)
    assert found["mcq_forget_chance"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert found["mcq_retain"]["repaired"] in (0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1)


def test_questions_under_attack_are_asked_as_by_a_slow_reference(routed: Unlearned) -> None:
    config = config_of(routed)
    task = load_task(config)
    (curve,) = [c for c in result_of(routed, "lora-pair")["curves"] if c["attack"] == "same"]
    examples = task.examples("same", 2, 0)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        routed.folder / "runs" / "lora-pair-seed0" / "plain"
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, betas=(0.9, 0.95), weight_decay=0)
    shares = [share_right(model, task.start)]
    for step in range(1, 4):
        read = model(examples.inputs).logits
        loss = nn.functional.cross_entropy(read.mT, examples.targets, ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step in curve["steps"]:
            shares.append(share_right(model, task.start))
    assert curve["values"]["mcq_forget"] == pytest.approx(shares)


def test_same_call_resumes_and_other_inputs_are_refused(known: Unlearned) -> None:
    given: Settings = {"method": "npo", "loop.steps": 0, "repair.steps": 0, "questions": QUESTIONS}
    runs = known.folder / "runs"
    written = {path: path.stat().st_mtime_ns for path in runs.rglob("*.safetensors")}
    again = call(known.folder, **given)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert (again.table, again.card) == (known.table, known.card)
    for changed, message in (
        ({"forget": FORGET[1:]}, "holds a study of another forget: choose another run_dir"),
        ({"model": tiny_model("gpt2")}, "holds a study of another model"),
        ({"questions": QUESTIONS[1:]}, "holds a study of another questions"),
        ({"npo.steps": 2}, r"the run has npo\.steps 3, 2 was given"),
    ):
        with pytest.raises(ValueError, match=message):
            call(known.folder, **{**given, **changed})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"forget": []}, "there is no text to forget: give one or more"),
        (
            {"forget": RETAIN},
            r"every text to forget \(20\) is also one to retain",
        ),
        ({"forget": FORGET[:7]}, "7 texts to forget and 20 to retain were given: give 8 or more"),
        ({"method": "ncp"}, "unknown method 'ncp': did you mean npo"),
        ({"method": "rmu"}, r"--rmu\.layer 7 was given: give a layer below 2"),
        ({"questions": [{"question": "a"}]}, "questions, record 0 lacks choices, answer"),
        ({"questions": 5}, "questions are 5: give a list of questions, or a file"),
        ({"questions": "nowhere.json"}, r"there is no file nowhere\.json"),
        ({"loop.step": 1}, r"unknown setting 'loop\.step': did you mean loop\.steps"),
        ({"loop.steps": 0}, "as it is, and lora-pair removes only what it has routed, or left out"),
        ({"loop.steps": 0, "method": ("npo", "gold")}, "and gold is the model trained without"),
        (
            {"data": "shards"},
            "data was given, which is a setting of the command alone: leave it out",
        ),
        ({"forget": {"text": "a"}}, "a dict of text was given"),
    ],
)
def test_what_cannot_be_unlearned_is_refused(given: Settings, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        call(tmp_path, **given)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tiny_model(), "a model was given without its tokenizer"),
        (nn.Linear(1, 1), "a Linear was given as the model: give a causal model of transformers"),
        ("nowhere", "nowhere is no model that can be loaded"),
    ],
)
def test_models_that_cannot_be_unlearned_are_refused_and_leave_no_folder(
    model: Any,  # noqa: ANN401
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ValueError, match=message):
        unlearn(model, forget=FORGET, retain=RETAIN)
    with pytest.raises(ValueError, match="there is no text to forget"):
        unlearn(tiny_model(), tokenizer(), forget=[], retain=RETAIN)
    assert list(tmp_path.iterdir()) == []


def test_command_and_function_have_one_name_in_any_order() -> None:
    imported = importlib.import_module("lm.unlearn")  # binds the module to its name in the package
    function: object = unlearn
    assert function is imported is vars(lm)["unlearn"]
    assert callable(imported)
