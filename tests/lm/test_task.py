"""Tests of the tasks of stories and of documents, and of sample texts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.attacks.relearning import ATTACKS, draw_examples
from lm.attacks.suite import SUITES
from lm.config import RunConfig
from lm.corpus import Kind, Splits, StoryDistribution
from lm.data.shards import ShardWriter, open_shards
from lm.data.task import CONTEXT as STORY_CONTEXT
from lm.data.task import TaskConfig, Texts, make_task
from lm.evaluation.exam import ExamConfig, make_exam
from lm.labels import LabelConfig, token_labels
from lm.models.gpt import GPT
from lm.models.language_model import IGNORED
from lm.models.shapes import GPTConfig
from lm.repair import RepairConfig
from lm.task import PROMPT, DocumentTask, StoryTask, sample_texts
from lm.training.route_tables import FORGET, RETAIN, UNLABELED
from lm.training_data import make_training_data
from tests.lm.data.factories import make_manifest, make_tokenizer
from tests.lm.evaluation.factories import tiny_task

STORIES = tiny_task()
SPLITS = STORIES.splits


def test_story_task_returns_the_exam_and_examples_of_its_stories() -> None:
    config = ExamConfig(stories=3, rounds=1)
    asked, expected = STORIES.exam(2, config), make_exam(STORIES, 2, config)
    for name, section in expected.sections.items():
        assert torch.equal(asked.sections[name].rows.tokens, section.rows.tokens)
    for attack in ATTACKS:
        assert STORIES.supports_attack(attack)
        tokens = STORIES.examples(attack, 3, 1).tokens
        assert torch.equal(tokens, draw_examples(STORIES, attack, 3, 1).tokens)


@pytest.mark.parametrize("quartets", [1, 2])
def test_exam_has_the_section_that_each_attack_is_measured_on(quartets: int) -> None:
    task = make_task(TaskConfig(quartets=quartets))
    exam = make_exam(task, 0, ExamConfig(stories=4, rounds=1))
    assert {attack.shows for attack in ATTACKS.values()} <= set(exam.sections)


def test_task_supports_no_benign_attacks_when_no_topic_is_retained() -> None:
    alone = replace(STORIES, splits=Splits(SPLITS.forget, SPLITS.adjacent + SPLITS.retain, ()))
    assert [name for name in ATTACKS if not alone.supports_attack(name)] == [
        "benign",
        "lora-benign",
    ]
    distribution = StoryDistribution(topics=alone.splits.adjacent)
    expected = alone.sample(2, (5, 90, 1), distribution)
    assert torch.equal(alone.prompts("retain", 2, 5).tokens, expected.tokens)


def test_story_task_has_an_empty_identity_and_retains_all_other_stories() -> None:
    assert STORIES.identity == {}
    assert STORIES.retain_labels(torch.arange(3)).tolist() == [RETAIN] * 3
    text = "wood"
    assert STORIES.decode(STORIES.encode(text)) == text


def test_sample_texts_continue_stories_of_their_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm.task.CONTINUATION", 3)
    task = StoryTask(**vars(make_task(TaskConfig(stories=8, vocab_size=512))))
    model = GPT(
        GPTConfig(
            vocab_size=task.vocab_size, width=8, num_layers=1, num_heads=1, context=STORY_CONTEXT
        )
    )
    found = sample_texts(model, task, seed=3, count=1)
    assert found == sample_texts(model, task, seed=3, count=1)
    for number, split in enumerate(("forget", "retain")):
        distribution = StoryDistribution(topics=getattr(task.splits, split))
        (story,) = task.sample(1, (3, 90, number), distribution).inputs.tolist()
        (text,) = found[split]
        assert text.startswith(task.tokenizer.decode(story[1:PROMPT]))


COUNT = 300
CONTEXT = 6


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> DocumentTask:
    """Return documents that begin with their number, in two tokens, so that rows are known."""
    folder = tmp_path_factory.mktemp("shards")
    writer = ShardWriter(folder, make_manifest(end=99), 200)
    for number in range(COUNT):
        tokens = np.array([number // 90, number % 90, *[95] * (number % 5), 99])
        writer.add(number, tokens, np.full(len(tokens), number % 3, np.uint8))
    writer.close()
    return DocumentTask(open_shards(folder), make_tokenizer(), CONTEXT)


def numbers(texts: Texts) -> list[int]:
    return [90 * first + second for first, second in texts.read().tokens[:, 1:3].tolist()]


def test_documents_are_rows_after_an_end_token_cut_at_the_context(documents: DocumentTask) -> None:
    rows = documents.sample(100, [0]).read()
    for row, number in enumerate(numbers(rows)):
        text = [number // 90, number % 90, *[95] * (number % 5), 99][:CONTEXT]
        filled = [IGNORED] * (CONTEXT - len(text))
        assert rows.tokens[row].tolist() == [99, *text, *filled]
        kind = int(Kind.NOUN if number % 3 == FORGET else Kind.FRAME)
        assert rows.kinds[row].tolist() == [kind] * len(text) + [-1] * len(filled)
        assert rows.topics[row] == number % 3
    assert (rows.facts == -1).all()
    assert rows.tokens.dtype == torch.int32


def test_training_exams_and_attacks_share_no_document(documents: DocumentTask) -> None:
    used: dict[str, set[int]] = {"train": set(), "exam": set(), "practice": set(), "attack": set()}
    for seed in range(4):
        used["train"] |= set(numbers(documents.sample(150, [seed, 1])))
        exam = documents.exam(seed, ExamConfig(stories=5))
        for name in ("forget", "retain"):
            used["exam"] |= set(numbers(exam.sections[name].rows))
            used["exam"] |= set(numbers(documents.prompts(name, 2, seed)))
            used["practice"] |= set(numbers(exam.practice[name]))
        for attack in ("same", "benign"):
            used["attack"] |= set(numbers(documents.examples(attack, 6, seed)))
    assert all(used.values())
    assert sum(map(len, used.values())) == len(set().union(*used.values()))


def test_exams_and_attacks_use_documents_of_their_split(documents: DocumentTask) -> None:
    exam = documents.exam(3, ExamConfig(stories=4))
    assert list(exam.sections) == list(exam.practice) == ["forget", "retain"]
    for name, label in (("forget", FORGET), ("retain", RETAIN)):
        assert (exam.sections[name].rows.topics == label).all()
        assert exam.sections[name].quiz is None
        assert (exam.practice[name].topics == label).all()
        assert (documents.prompts(name, 3, 0).topics == label).all()  # type: ignore[arg-type]
    assert (exam.lower_bounds, exam.guess) == ({}, None)
    assert (documents.examples("same", 4, 0).topics == FORGET).all()
    assert (documents.examples("benign", 4, 0).topics == RETAIN).all()
    supported = [name for name in SUITES["full"] if documents.supports_attack(name)]
    assert supported == ["same", "benign", "lora-same", "lora-benign", "quantized"]


@pytest.mark.parametrize(("name", "recall"), [("gold", 1.0), ("filtered", 0.5), ("unrouted", 0.5)])
def test_labels_are_the_prepared_ones_with_the_errors_of_the_run(
    documents: DocumentTask, name: str, recall: float
) -> None:
    config = RunConfig(
        task=TaskConfig(stories=120),
        labels=LabelConfig(recall=0.5, precision=0.8),
        repair=RepairConfig(stories=30),
        data=Path("data"),
    )
    data = make_training_data(config, documents, name, seed=2)
    truth, labels = data.texts.topics, data.labels
    found = int((labels[truth == FORGET] == FORGET).sum())
    assert found == pytest.approx(recall * int((truth == FORGET).sum()), abs=8)
    wrong = int((labels[truth != FORGET] == FORGET).sum())
    assert wrong == pytest.approx(found * (0.25 if name != "gold" else 0), abs=8)
    other = labels != FORGET
    assert (labels[other & (truth == UNLABELED)] == UNLABELED).all()
    assert (labels[other & (truth != UNLABELED)] == RETAIN).all()
    assert len(data.held_out) > 0
    assert not set(numbers(data.held_out)) & set(numbers(data.texts))


def test_documents_keep_labels_of_single_tokens(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, make_manifest(), 50)
    for number in range(20):
        writer.add(number, np.array([1, 2, 3]), np.array([RETAIN, FORGET, RETAIN], np.uint8))
    writer.close()
    rows = DocumentTask(open_shards(tmp_path), make_tokenizer(), 4).sample(5, [0]).read()
    assert (rows.topics == FORGET).all()
    routes = token_labels(rows, rows.topics, "token")
    assert routes[0].tolist() == [RETAIN, FORGET, RETAIN, RETAIN]
    assert (token_labels(rows, rows.topics, "document") == FORGET).all()


def test_identity_changes_with_the_labels(tmp_path: Path) -> None:
    found = []
    for label in (RETAIN, FORGET):
        folder = tmp_path / str(label)
        folder.mkdir()
        writer = ShardWriter(folder, make_manifest(), 50)
        writer.add(0, np.array([1, 2]), np.full(2, label, np.uint8))
        writer.close()
        found.append(DocumentTask(open_shards(folder), make_tokenizer(), 4).identity)
    assert found[0] != found[1]


def test_sample_names_the_pool_when_documents_are_too_few(documents: DocumentTask) -> None:
    with pytest.raises(ValueError, match="400 documents were asked of the pool 'train', which has"):
        documents.sample(400, [0])


def test_run_config_refuses_settings_of_stories_for_documents() -> None:
    with pytest.raises(ValueError, match="how many to train on"):
        RunConfig(data=Path("a"), task=TaskConfig(forget=("sea",)))
    with pytest.raises(ValueError, match="documents take iid"):
        RunConfig(data=Path("a"), labels=LabelConfig(errors="topic"))
