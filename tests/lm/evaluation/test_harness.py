"""Files of questions, their prompts, and likelihoods recorded from the harness."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from lm.evaluation.harness import (
    FORMS,
    Asker,
    Form,
    QuestionSet,
    Source,
    check_record,
    check_records,
    find_questions,
    load_benchmark,
    read_questions,
    task_manager,
)
from lm.evaluation.quiz import prompt_of as prompt_of_record
from tests.lm.evaluation.question_factories import (
    random_plain_model,
    random_questions,
    small_tokenizer,
)

datasets = pytest.importorskip("datasets")
pytest.importorskip("lm_eval")

STORED = Path(__file__).parent / "harness.json"
"""Log-likelihoods that `simple_evaluate` of lm-evaluation-harness 0.4.13 gave by its templates."""

SPIDER = {"question": "  How many legs?\n", "choices": ["six", " eight"], "answer": 1}
CAT = {"question": "Legs of a cat?", "choices": ["four", "two"], "answer": 0}
ABOUT = "The following are multiple choice questions (with answers) about small animals.\n\n"
ALONE = "The following are questions (with answers) about small animals.\n\n"
LISTED = "How many legs?\nA. six\nB.  eight\nAnswer:"


def source_of(
    questions: Sequence[Mapping[str, Any]],
    subject: str = "",
    examples: Sequence[Mapping[str, Any]] = (),
) -> Source:
    """Return questions and examples, all about one subject."""
    return Source(
        [{**question, "subject": subject} for question in questions],
        [{**example, "subject": subject} for example in examples],
    )


def prompt_of(form: Form, source: Source, shots: int = 0) -> tuple[str, list[str]]:
    """Return the prompt of the first question of a source, and its continuations."""
    task = source.task(form)
    doc = task.task_docs[0]
    context = task.fewshot_context(doc, num_fewshot=shots)
    requests = task.construct_requests(doc=doc, ctx=context, metadata=(form, 0, 1))
    return context, [request.args[1] for request in requests]


@pytest.mark.parametrize(
    ("form", "context", "continuations"),
    [
        ("letter", ABOUT + LISTED, [" A", " B"]),
        ("answer", ABOUT + LISTED, [" six", "  eight"]),
        ("cloze", ALONE + "Question: How many legs?\nAnswer:", [" six", "  eight"]),
        ("choices-only", ABOUT + "A. six\nB.  eight\nAnswer:", [" A", " B"]),
    ],
)
def test_prompt_matches_its_form(form: Form, context: str, continuations: list[str]) -> None:
    source = source_of([SPIDER], "small_animals")
    assert prompt_of(form, source) == (context, continuations)


def test_cloze_completes_the_statement_of_a_record_that_has_one() -> None:
    stated = check_record({**SPIDER, "statement": "The legs of a spider number"}, "here")
    source = source_of([stated], "small_animals", [{**CAT, "statement": "A cat has"}])
    assert prompt_of("cloze", source)[0] == stated["statement"] == prompt_of_record(stated)
    assert prompt_of("cloze", source, 1)[0] == "A cat has four\n\nThe legs of a spider number"
    assert prompt_of("letter", source)[0] == ABOUT + LISTED
    with pytest.raises(ValueError, match="here: its statement is ' ': give the beginning of"):
        check_record({**SPIDER, "statement": " "}, "here")


def test_prompt_has_no_introduction_when_the_subject_is_unknown() -> None:
    assert prompt_of("letter", source_of([SPIDER]))[0] == LISTED


def test_solved_examples_precede_the_question() -> None:
    source = source_of([SPIDER], "small_animals", [CAT])
    solved = "Legs of a cat?\nA. four\nB. two\nAnswer: A\n\n"
    assert prompt_of("letter", source, 1)[0] == ABOUT + solved + LISTED
    named = solved.replace("Answer: A", "Answer: four")
    assert prompt_of("answer", source, 1)[0] == ABOUT + named + LISTED
    cloze = prompt_of("cloze", source, 1)[0]
    assert cloze.startswith(ALONE + "Question: Legs of a cat?\nAnswer: four\n\nQuestion: How")


def test_choices_only_prompt_does_not_depend_on_the_question() -> None:
    other = {**SPIDER, "question": "What color is it?"}
    assert prompt_of("choices-only", source_of([SPIDER], examples=[other]), 1) == prompt_of(
        "choices-only", source_of([other], examples=[SPIDER]), 1
    )


def test_letters_reach_z_when_a_question_has_26_choices() -> None:
    many = {"question": "Which?", "choices": [f"c{n}" for n in range(26)], "answer": 25}
    context, continuations = prompt_of("letter", source_of([many]))
    assert context.endswith("Y. c24\nZ. c25\nAnswer:")
    assert continuations[-1] == " Z"


def test_likelihoods_match_recorded_ones_of_the_harness() -> None:
    stored = json.loads(STORED.read_text())
    questions = QuestionSet("random", (source_of(random_questions(96), "made_things"),))
    model, tokenizer = random_plain_model("llama", torch.float64), small_tokenizer(begins=True)
    asker = Asker(model, tokenizer, ("letter", "answer", "cloze"), batch_size=7)
    found = [each for chunk in asker.ask(questions) for each in chunk]
    for form in ("letter", "answer", "cloze"):
        ours = torch.tensor([each.likelihoods[form] for each in found], dtype=torch.float64)
        theirs = torch.tensor(stored[form][:96], dtype=torch.float64)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("choices", "context", "message"),
    [
        (["er", "x"], 192, "question 1: one of its choices is 0 tokens after the prompt"),
        (["x", "for " * 40], 24, "give from 1 to 24"),
    ],
)
def test_choice_is_refused_when_it_has_no_tokens_or_exceeds_the_context(
    choices: list[str], context: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_plain_model("llama", torch.float32)
    asker = Asker(model, small_tokenizer(begins=True), ("cloze",))
    monkeypatch.setattr(type(asker.lm), "max_length", context)
    if "er" in choices:  # one token together with the end of the prompt
        monkeypatch.setattr(asker.lm, "tok_encode", lambda text: [0] * text.count(":"))
    question = {"question": "Which?", "choices": choices, "answer": 0}
    with pytest.raises(ValueError, match=message):
        list(asker.ask(QuestionSet("few", (source_of([question]),))))


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_json_and_jsonl_files_give_the_same_questions(tmp_path: Path) -> None:
    named = {"question": "  \u00c9t\u00e9? ", "choices": [" a", "b", "b"], "answer": 0}
    both = [SPIDER, {**named, "subject": "cats"}]
    lines = written(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, both)))
    whole = written(tmp_path / "a.json", json.dumps(both, ensure_ascii=False))
    (one,), (other,) = read_questions(lines), read_questions(whole)
    assert one.questions == other.questions == [{**both[0], "subject": ""}, both[1]]
    assert [place for _, place in find_questions(str(lines), limit=1).places] == [0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 2}, "answer is 2: give the number of one of the 2 choices, from 0 to 1"),
        ({"answer": -1}, "answer is -1: give"),
        ({"answer": "C"}, "answer is C: give the number of one of the 2 choices, .* or its letter"),
        ({"choices": ["six", "\u200b "]}, "2 choices, 1 of them empty"),
        ({"question": " "}, "its question is empty"),
        ({"question": "\ud83d?"}, "has half of a surrogate pair"),
        ({"choices": ["six", "\udc00"]}, "has half of a surrogate pair"),
        ({"subject": "\ud83d"}, "has half of a surrogate pair"),
        ({"answer": True}, "answer is bool"),
        ({"choices": ["six"], "answer": 0}, "it has 1 choices, 0 of them empty: give from 2 to 26"),
        ({"choices": ["six", ""]}, "1 of them empty"),
        ({"choices": ["six", 8]}, "choices is list of int, str: give a list of texts"),
        ({"choices": "six"}, "choices is str"),
        ({"question": None}, "question is NoneType: give a text"),
        ({"subject": 3}, "subject is int"),
    ],
)
def test_malformed_question_is_refused_with_its_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    wrong = {**SPIDER, **change}
    lines = written(tmp_path / "a.jsonl", f"{json.dumps(SPIDER)}\n\n{json.dumps(wrong)}\n")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 3.*" + message):
        read_questions(lines)
    whole = written(tmp_path / "a.json", json.dumps([SPIDER, wrong], indent=1))
    with pytest.raises(ValueError, match=r"a\.json, record 1.*" + message):
        read_questions(whole)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("what?", "record 1 holds str: give an object with question, choices, answer"),
        ({"question": "a"}, "record 1 lacks choices, answer"),
        ({**SPIDER, "answer": 5}, "record 1: its answer is 5"),
    ],
)
def test_malformed_question_of_a_list_is_refused_with_its_number(given: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=f"questions, {message}"):
        check_records([SPIDER, given], "questions")


@pytest.mark.parametrize("field", ["question", "choices", "answer"])
def test_error_names_the_field_when_one_is_missing(tmp_path: Path, field: str) -> None:
    record = {name: value for name, value in SPIDER.items() if name != field}
    with pytest.raises(ValueError, match=f"line 1 lacks {field}"):
        read_questions(written(tmp_path / "a.jsonl", json.dumps(record)))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "{\n", "line 1 is not JSON"),
        ("a.json", "[", "is not JSON"),
        ("a.json", "{}", "holds dict: give a list"),
        ("a.json", "[3]", "record 0 holds int: give a JSON object"),
        ("a.json", "[]", "holds no questions"),
        ("a.jsonl", "\n", "holds no questions"),
        ("a.txt", "x", "ends in .json, .jsonl, .ndjson, .parquet"),
    ],
)
def test_file_is_refused_when_it_holds_no_questions(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_questions(written(tmp_path / name, text))


@pytest.mark.parametrize("suffix", [".jsonl", ".NDJSON", ".jsonl.gz", ".json", ".parquet"])
def test_questions_are_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"facts{suffix}"
    frame = pd.DataFrame([SPIDER, SPIDER])
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=suffix != ".json", compression="infer")
    (source,) = find_questions(str(path)).sources
    assert [record["choices"] for record in source.questions] == [SPIDER["choices"]] * 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_model_is_refused_when_it_gives_no_likelihoods(value: float) -> None:
    model = random_plain_model("llama", torch.float32)
    with torch.no_grad():
        model.lm_head.weight[5] = value
    asker = Asker(model, small_tokenizer(begins=True), ("letter",))
    with pytest.raises(
        ValueError, match="few, question 1: the model gives a choice the likelihood"
    ):
        list(asker.ask(QuestionSet("few", (source_of([SPIDER]),))))


@pytest.mark.parametrize("gone", [("eos_token",), ("bos_token",), ("bos_token", "eos_token")])
def test_tokenizer_without_special_tokens_asks_as_one_with_them(gone: tuple[str, ...]) -> None:
    model, questions = random_plain_model("llama", torch.float64), random_questions(6)
    without = small_tokenizer(begins=True)
    for name in (*gone, "pad_token"):
        setattr(without, name, None)
    found = [
        next(Asker(model, each, batch_size=3).ask(QuestionSet("few", (source_of(questions),))))
        for each in (small_tokenizer(begins=True), without)
    ]
    assert found[0] == found[1]
    assert len(without) == len(small_tokenizer(begins=True))


def test_file_is_refused_when_missing_or_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        read_questions(tmp_path / "none.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_questions(tmp_path / "a.json")


CHOICES = ["one", "two", "three", "four"]


def hub_record(question: str, answer: int = 2) -> dict[str, Any]:
    return {"question": question, "choices": CHOICES, "answer": answer}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the data sets of the hub by a few records."""
    mmlu = [hub_record("anatomy?", 0), hub_record("bones?", 1)]
    stored = {
        ("cais/wmdp", "wmdp-bio"): {"test": [hub_record("virus?")]},
        ("cais/wmdp", "wmdp-chem"): {"test": [hub_record("gas?"), hub_record("acid?", 4)]},
    }

    def load(path: str, name: str, **_: object) -> Any:  # noqa: ANN401
        if path == "cais/mmlu":
            found = {"test": [hub_record(name)], "dev": mmlu}
        elif (path, name) in stored:
            found = stored[path, name]
        else:
            raise ConnectionError("no such host\nand more")
        return {split: datasets.Dataset.from_list(records) for split, records in found.items()}

    monkeypatch.setattr(datasets, "load_dataset", load)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("name", "count", "subjects"),
    [
        ("wmdp-bio", 1, {"biology"}),
        ("mmlu-anatomy", 1, {"anatomy"}),
        ("mmlu-other", 13, {"virology", "human_aging"}),
        ("mmlu", 57, {"anatomy", "high_school_us_history", "virology"}),
    ],
)
def test_benchmarks_contain_the_tasks_of_the_harness(
    name: str, count: int, subjects: set[str]
) -> None:
    sources = load_benchmark(name)
    assert len(sources) == count
    assert subjects <= {question["subject"] for each in sources for question in each.questions}
    examples = [example["answer"] for example in sources[0].examples]
    assert examples == ([0, 1] if "mmlu" in name else [])


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(("task", "name"), [("wmdp_bio", "wmdp-bio"), ("mmlu_anatomy",) * 2])
def test_letter_prompt_equals_that_of_the_harness(task: str, name: str) -> None:
    theirs = task_manager(name).load(task)["tasks"][task]
    (source,) = load_benchmark(name.replace("_", "-", 1))
    for shots in range(len(source.examples) + 1):
        doc = theirs.task_docs[0]
        expected = theirs.fewshot_context(doc, num_fewshot=shots)
        assert prompt_of("letter", source, shots) == (expected, [" A", " B", " C", " D"])


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wmdp-cyber", "wmdp-cyber cannot be read .no such host.: check the network"),
        ("wmdp-chem", "cais/wmdp, wmdp_chem, record 1: its answer is 4"),
        ("wmdp-boi", "neither a file nor a benchmark: did you mean wmdp-bio"),
        ("qqq", "neither a file nor a benchmark: give a file .* mmlu-stem"),
    ],
)
def test_benchmark_is_refused_when_it_cannot_be_loaded(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_benchmark(name)


def test_shots_are_refused_when_there_are_too_few_examples() -> None:
    model, tokenizer = random_plain_model("llama"), small_tokenizer(begins=True)
    asker = Asker(model, tokenizer, FORMS, shots=2)
    for source, message in (
        (source_of([SPIDER], "cats", [CAT]), "2 examples were asked for, and few has 1 on cats"),
        (source_of([SPIDER]), "few has 0: ask without"),
    ):
        with pytest.raises(ValueError, match=message):
            next(asker.ask(QuestionSet("few", (source,))))


def test_checksum_depends_on_questions_examples_and_limit() -> None:
    several = [
        (source_of([SPIDER, CAT]),),
        (source_of([SPIDER, CAT], "legs"),),
        (source_of([CAT, SPIDER]),),
        (source_of([SPIDER, CAT], examples=[CAT]),),
    ]
    sums = {QuestionSet("few", sources).checksum for sources in several}
    sums.add(QuestionSet("few", several[0], limit=1).checksum)
    assert len(sums) == 5
