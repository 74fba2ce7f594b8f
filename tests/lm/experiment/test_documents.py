"""Documents as a subject: their rows, their labels, and pools that never overlap."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lm.attacks.suite import SUITES
from lm.config import UnlearnConfig
from lm.corpus import Kind
from lm.data.shards import ShardWriter, open_shards
from lm.data.task import TaskConfig, Texts
from lm.datasets import Documents
from lm.evaluation.exam import ExamConfig
from lm.labels import LabelConfig, token_labels
from lm.models.language_model import IGNORED
from lm.pretraining import make_material
from lm.repair import RepairConfig
from lm.training.route_tables import FORGET, RETAIN, UNLABELED
from tests.lm.data.factories import make_manifest, make_tokenizer

COUNT = 300
CONTEXT = 6


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    """Return documents that begin with their number, in two tokens, so that rows are known."""
    folder = tmp_path_factory.mktemp("shards")
    writer = ShardWriter(folder, make_manifest(end=99), 200)
    for number in range(COUNT):
        tokens = np.array([number // 90, number % 90, *[95] * (number % 5), 99])
        writer.add(number, tokens, np.full(len(tokens), number % 3, np.uint8))
    writer.close()
    return Documents(open_shards(folder), make_tokenizer(), CONTEXT)


def numbers(texts: Texts) -> list[int]:
    return [90 * first + second for first, second in texts.read().tokens[:, 1:3].tolist()]


def test_a_document_is_a_row_after_an_end_cut_at_the_context(documents: Documents) -> None:
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


def test_no_two_uses_share_a_document_whatever_the_seeds(documents: Documents) -> None:
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


def test_exams_and_attacks_are_of_their_split(documents: Documents) -> None:
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
    taken = [name for name in SUITES["full"] if documents.supports_attack(name)]
    assert taken == ["same", "benign", "lora-same", "lora-benign", "quantized"]


@pytest.mark.parametrize(("name", "recall"), [("gold", 1.0), ("filtered", 0.5), ("unrouted", 0.5)])
def test_labels_are_those_prepared_with_the_noise_of_the_run(
    documents: Documents, name: str, recall: float
) -> None:
    config = UnlearnConfig(
        task=TaskConfig(stories=120),
        labels=LabelConfig(recall=0.5, precision=0.8),
        repair=RepairConfig(stories=30),
        data=Path("data"),
    )
    material = make_material(config, documents, name, seed=2)
    truth, labels = material.rows.topics, material.labels
    found = int((labels[truth == FORGET] == FORGET).sum())
    assert found == pytest.approx(recall * int((truth == FORGET).sum()), abs=8)
    wrong = int((labels[truth != FORGET] == FORGET).sum())
    assert wrong == pytest.approx(found * (0.25 if name != "gold" else 0), abs=8)
    other = labels != FORGET
    assert (labels[other & (truth == UNLABELED)] == UNLABELED).all()
    assert (labels[other & (truth != UNLABELED)] == RETAIN).all()
    assert len(material.held) > 0
    assert not set(numbers(material.held)) & set(numbers(material.rows))


def test_labels_of_tokens_are_of_tokens(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, make_manifest(), 50)
    for number in range(20):
        writer.add(number, np.array([1, 2, 3]), np.array([RETAIN, FORGET, RETAIN], np.uint8))
    writer.close()
    rows = Documents(open_shards(tmp_path), make_tokenizer(), 4).sample(5, [0]).read()
    assert (rows.topics == FORGET).all()
    routes = token_labels(rows, rows.topics, "token")
    assert routes[0].tolist() == [RETAIN, FORGET, RETAIN, RETAIN]
    assert (token_labels(rows, rows.topics, "document") == FORGET).all()


def test_other_labels_are_another_identity(tmp_path: Path) -> None:
    found = []
    for label in (RETAIN, FORGET):
        folder = tmp_path / str(label)
        folder.mkdir()
        writer = ShardWriter(folder, make_manifest(), 50)
        writer.add(0, np.array([1, 2]), np.full(2, label, np.uint8))
        writer.close()
        found.append(Documents(open_shards(folder), make_tokenizer(), 4).identity)
    assert found[0] != found[1]


def test_too_few_documents_are_told_with_their_pool(documents: Documents) -> None:
    with pytest.raises(ValueError, match="400 documents were asked of the pool 'train', which has"):
        documents.sample(400, [0])


def test_settings_of_stories_are_refused() -> None:
    with pytest.raises(ValueError, match="how many to train on"):
        UnlearnConfig(data=Path("a"), task=TaskConfig(forget=("sea",)))
    with pytest.raises(ValueError, match="documents take iid"):
        UnlearnConfig(data=Path("a"), labels=LabelConfig(errors="topic"))
