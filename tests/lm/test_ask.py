"""`python -m lm.ask` scores models, resumes, and refuses invalid arguments."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lm.ask import main
from oversight.runs import cli
from oversight.runs.folder import read_json, write_json
from tests.lm.evaluation.question_factories import (
    random_plain_model,
    random_questions,
    small_tokenizer,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run, as `lm.unlearn` leaves it, with a tiny plain model."""
    run = tmp_path_factory.mktemp("run")
    random_plain_model("llama", torch.float32).save_pretrained(run / "plain")
    small_tokenizer(begins=True).save_pretrained(run / "plain")
    return run


def stored(path: Path, questions: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in questions))
    return path


def asked(out: Path) -> list[dict[str, Any]]:
    """Return the responses to the only set of questions."""
    (found,) = read_json(out)["sets"].values()
    questions: list[dict[str, Any]] = found["responses"]
    return questions


QUESTIONS = [
    {**each, "choices": [choice if choice.strip() else "x" for choice in each["choices"]]}
    for each in random_questions(20, subject="one_thing") + random_questions(20, 1, "another")
]


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the arguments of a finished run; the last is the file of results."""
    folder = tmp_path_factory.mktemp("asked")
    path = stored(folder / "made.jsonl", QUESTIONS)
    given = ["--model", str(model), "--questions", str(path), "--out", str(folder / "out.json")]
    main(given)
    return given


def test_every_question_is_asked_in_every_form(whole: list[str]) -> None:
    found = asked(Path(whole[-1]))
    assert [each["answer"] for each in found] == [each["answer"] for each in QUESTIONS]
    for each in found:
        assert {form: len(numbers) for form, numbers in each["likelihoods"].items()} == {
            "letter": 4,
            "answer": 4,
            "cloze": 4,
            "choices-only": 4,
        }
        assert all(number < 0 for numbers in each["likelihoods"].values() for number in numbers)


def test_table_has_a_row_for_each_subject(
    whole: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    written = Path(whole[-1]).read_bytes()
    assert cli.run(main, whole) == 0  # a finished run only prints its scores again
    assert Path(whole[-1]).read_bytes() == written
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.rstrip().endswith("25.0%")}
    assert [(name, row.split()[1]) for name, row in rows.items()] == [
        ("all", "40"),
        ("another", "20"),
        ("one_thing", "20"),
    ]
    (scores,) = (each["scores"] for each in read_json(Path(whole[-1]))["sets"].values())
    assert f"{scores['all']['measures']['letter']['value']:.1%}" in rows["all"]


@pytest.mark.parametrize("done", [0, 1, 32, 39])
def test_resumed_run_produces_the_same_bytes(whole: list[str], done: int, tmp_path: Path) -> None:
    part = read_json(Path(whole[-1]))
    for questions in part["sets"].values():
        questions["responses"] = questions["responses"][:done]
    out = tmp_path / "out.json"
    write_json(out, part)
    main([*whole[:-1], str(out)])
    assert out.read_bytes() == Path(whole[-1]).read_bytes()


def test_choices_only_likelihoods_do_not_depend_on_the_question(
    whole: list[str], tmp_path: Path
) -> None:
    others = [{**each, "question": f"{each['question']}!"} for each in QUESTIONS]
    path = stored(tmp_path / "others.jsonl", others)
    out = tmp_path / "out.json"
    main([*whole[:3], str(path), "--out", str(out)])
    for one, other in zip(asked(Path(whole[-1])), asked(out), strict=True):
        assert one["likelihoods"]["choices-only"] == other["likelihoods"]["choices-only"]
        assert one["likelihoods"]["letter"] != other["likelihoods"]["letter"]
        assert one["likelihoods"]["answer"] != other["likelihoods"]["answer"]
        assert one["likelihoods"]["cloze"] != other["likelihoods"]["cloze"]


def test_only_the_first_questions_and_chosen_forms_are_asked_when_limited(
    whole: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    main([*whole[:-1], str(out), "--limit", "3", "--forms", "letter"])
    found = asked(out)
    assert [list(each["likelihoods"]) for each in found] == [["letter"]] * 3
    assert [each["answer"] for each in found] == [each["answer"] for each in QUESTIONS[:3]]


def test_uniform_model_scores_chance(whole: list[str], tmp_path: Path) -> None:
    plain = random_plain_model("gpt_neo", torch.float32)
    with torch.no_grad():
        plain.lm_head.weight.zero_()
    plain.save_pretrained(tmp_path / "flat")
    small_tokenizer(begins=False).save_pretrained(tmp_path / "flat")
    out = tmp_path / "out.json"
    main(["--model", str(tmp_path / "flat"), *whole[2:-1], str(out)])
    (found,) = read_json(out)["sets"].values()
    for score in found["scores"].values():
        assert score["measures"]["letter"]["value"] == score["chance"] == 0.25
        assert score["measures"]["choices-only"]["value"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "limit 0 was given: give 1 or more"),
        (["--batch-size", "0"], "batch_size 0 was given"),
        (["--shots", "1"], "has 0 on one_thing: ask without"),
        (["--questions", "wmdp-boi"], "did you mean wmdp-bio"),
        (["--questions", "none.json"], "there is no file none.json"),
        (["--model", "tests"], "tests is no model that can be loaded"),  # a folder without one
        (["--out", "results.txt"], "give a .json file in a folder that exists"),
        (["--forms", "essay"], "essay"),
    ],
)
def test_invalid_arguments_end_with_a_one_line_error(
    whole: list[str], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(main, [*whole[:-2], *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_model_that_gives_nan_is_refused_and_scores_nothing(
    whole: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, out = tmp_path / "broken", tmp_path / "out.json"
    plain = random_plain_model("llama", torch.float32)
    plain.lm_head.weight.data[0, 0] = float("nan")
    plain.save_pretrained(broken)
    small_tokenizer(begins=True).save_pretrained(broken)
    capsys.readouterr()
    assert cli.run(main, ["--model", str(broken), *whole[2:-1], str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "not finite in lm_head.weight" in printed.err
    plain.lm_head.weight.data[0] = 3e38  # finite, but the logits overflow
    plain.save_pretrained(broken)
    capsys.readouterr()
    assert cli.run(main, ["--model", str(broken), *whole[2:-1], str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "question 1: the model gives a choice the likelihood" in printed.err
    assert not out.exists()


def test_stored_responses_of_a_model_that_gave_nan_are_refused(
    whole: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = read_json(Path(whole[-1]))
    for questions in part["sets"].values():
        questions["responses"][3]["likelihoods"]["letter"][0] = None
    write_json(tmp_path / "out.json", part)
    assert cli.run(main, [*whole[:-1], str(tmp_path / "out.json")]) == 2
    assert "has responses of a model that gave no likelihoods" in capsys.readouterr().err


def test_questions_longer_than_the_context_are_reported(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {"question": "a", "choices": ["b", "c"], "answer": 0}
    path = stored(tmp_path / "long.JSONL", [short, {**short, "question": "water " * 200}])
    given = ["--model", str(model), "--questions", str(path), "--forms", "letter", "choices-only"]
    told = "lost its beginning, since the context of the model is shorter: 1 of 2"
    for _ in range(2):  # the second time from the stored responses
        assert cli.run(main, [*given, "--out", str(tmp_path / "out.json")]) == 0
        assert told in capsys.readouterr().out
    assert [each["cut"] for each in asked(tmp_path / "out.json")] == [False, True]
    assert cli.run(main, [*given, "--limit", "1"]) == 0
    assert "warning" not in capsys.readouterr().out


def test_tokenizer_without_an_end_token_asks(whole: list[str], tmp_path: Path) -> None:
    shutil.copytree(Path(whole[1]) / "plain", tmp_path / "plain")
    tokenizer = small_tokenizer(begins=True)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path / "plain")
    out = tmp_path / "out.json"
    assert cli.run(main, ["--model", str(tmp_path), *whole[2:-1], str(out)]) == 0
    assert asked(out) == asked(Path(whole[-1]))


def test_existing_results_of_other_settings_are_kept(
    whole: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(whole[-1])
    written = out.read_bytes()
    other = tmp_path / "other"
    (plain := random_plain_model("llama", torch.float32)).lm_head.weight.data[0, 0] += 1
    plain.save_pretrained(other)
    small_tokenizer(begins=True).save_pretrained(other)
    for arguments, message in (
        (["--batch-size", "3"], "another batch_size"),
        (["--limit", "3"], "another number of them"),
        (["--model", str(other)], "another model, weights"),
    ):
        assert cli.run(main, [*whole, *arguments]) == 2
        assert message in capsys.readouterr().err
    assert out.read_bytes() == written
