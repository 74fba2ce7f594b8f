"""Tests of the sizes of a study of a user's own texts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lm.attacks.config import AttackConfig
from lm.config import RunConfig
from lm.data.pools import Pools
from lm.data.texts import TextsConfig
from lm.texts import fit_sizes, prepared_texts, require_distinct, summary_lines
from lm.training import route_tables
from tests.lm.data.factories import write_lines
from tests.lm.text_factories import FORGET, RETAIN, tiny_model, tokenizer

TEXTS = TextsConfig(forget=(Path("a.txt"),), retain=(Path("b.txt"),))
RUN = RunConfig(model="a/model", texts=TEXTS)


def pools(forget: int, retain: int) -> Pools:
    labels = np.repeat([route_tables.FORGET, route_tables.RETAIN], [forget, retain]).astype(
        np.uint8
    )
    return Pools(labels, fitted=True)


@pytest.mark.parametrize(
    ("forget", "retain", "sizes"),
    [
        (8, 8, (4, 2, 2, (2,), 4)),  # of each label 2 in exams, 1 to calibrate, 2 to attack with
        (40, 160, (126, 14, 4, (4,), 8)),
        (1000, 9000, (6872, 128, 64, (8, 32), 8)),
    ],
)
def test_sizes_fit_the_number_of_texts(
    forget: int, retain: int, sizes: tuple[int, int, int, tuple[int, ...], int]
) -> None:
    run = fit_sizes(RUN, pools(forget, retain))
    found = (run.task.stories, run.repair.stories, run.exam.stories, run.attack.num_examples)
    assert (*found, run.batch_size) == sizes


def test_texts_are_prepared_aside_and_what_was_found_is_reported(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    forget, retain = (
        write_lines(tmp_path / f"{name}.jsonl", [{"text": text} for text in texts])
        for name, texts in (("forget", [*FORGET, FORGET[0], ""]), ("retain", RETAIN))
    )
    texts = TextsConfig(forget=(forget,), retain=(retain,), context=6)
    with prepared_texts(RunConfig(model=str(tmp_path / "model"), texts=texts)) as run:
        lines = summary_lines(run)
        assert run.data is not None
        assert run.data.is_dir()
    assert not run.data.exists()
    assert lines[0].startswith("texts: 21 to train on, 2 held out for the repair, 2 of each kind")
    assert "records without text, which were skipped: 1" in lines
    assert any(line.startswith("documents cut at 6 tokens: 35") for line in lines)
    assert any(line.startswith("documents with the kept text of an earlier one:") for line in lines)


def test_settings_that_fit_stay_unchanged() -> None:
    small = replace(
        RUN,
        task=replace(RUN.task, stories=20),
        repair=replace(RUN.repair, stories=3),
        exam=replace(RUN.exam, stories=5),
        attack=AttackConfig(num_examples=(1, 7)),
    )
    assert fit_sizes(small, pools(100, 100)) == small


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": None}, r"texts of a\.txt were given without a model: name one by --model"),
        ({"texts": TextsConfig(questions="q.json")}, "questions were given without texts"),
        ({"task": replace(RUN.task, quartets=2)}, r"documents of a\.txt were given with topics"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RUN, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("forget", "retain", "message"),
    [
        ([], ["a"], "there is no text to forget: give one or more"),
        (["a"], [], "there is no text to retain: give one or more"),
        (["a", "b"], ["b", "a"], r"every text to forget \(2\) is also one to "),
        (["a", " a\n"], ["b", "a", "c"], r"every text to forget \(1\) is also one to retain"),
        (["a", "b", "c"], ["c", "b"], r"every text to retain \(2\) is also one to "),
    ],
)
def test_sets_that_cannot_be_told_apart_are_refused(
    forget: list[str], retain: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        require_distinct({"forget": forget, "retain": retain})
