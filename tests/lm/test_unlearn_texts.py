"""Tests of a study of a user's own texts, from the command line."""

import json
import shutil
from pathlib import Path

import pytest

from lm.data.shards import Shards, read_manifest
from lm.training.route_tables import FORGET as FORGET_LABEL
from lm.unlearn import main
from oversight.runs import cli
from oversight.runs.folder import read_json
from tests.lm.data.factories import write_lines
from tests.lm.text_factories import FORGET, QUESTIONS, RETAIN, SETTINGS, tiny_model, tokenizer
from tests.oversight.runs.refusals import Capture, refused


def flags_of(settings: dict[str, object]) -> list[str]:
    """Return settings as flags."""
    found = []
    for name, value in settings.items():
        values = value if isinstance(value, tuple) else (value,)
        found += [f"--{name.replace('_', '-')}", *map(str, values)]
    return found


SMALL = flags_of(SETTINGS)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, texts in two formats, and questions."""
    folder = tmp_path_factory.mktemp("given")
    tiny_model().save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    write_lines(folder / "forget.jsonl", [{"meta": {"text": text}} for text in FORGET])
    (folder / "retain").mkdir()
    rows = json.dumps([{"meta": {"text": text}} for text in RETAIN])
    (folder / "retain" / "part.json").write_text(rows)
    write_lines(folder / "questions.jsonl", QUESTIONS)
    return folder


def texts(folder: Path, field: str = "meta.text") -> list[str]:
    paths = [*("--forget", folder / "forget.jsonl", "--retain", folder / "retain")]
    return [*map(str, paths), "--text-field", field]


def call(folder: Path, out: Path, *flags: str) -> int:
    model = ["--model", str(folder / "model"), "--run-dir", str(out)]
    return cli.run(main, [*model, *texts(folder), *SMALL, *flags])


@pytest.fixture(scope="module")
def study(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished study with questions."""
    out = tmp_path_factory.mktemp("study") / "out"
    asked = ["--questions", str(given / "questions.jsonl")]
    assert call(given, out, *asked, "--method", "npo", "unrouted", "--loop.steps", "0") == 0
    return out


def test_texts_are_unlearned_without_a_preparation_step(study: Path) -> None:
    summary = read_json(study / "summary.json")
    assert {each["method"] for each in summary["results"]} == {"npo", "unrouted"}
    for each in summary["results"]:
        assert set(each["mcq_forget"]) == {"before", "after", "repaired"}
        assert "mcq_retain" not in each
        curves = read_json(study / "runs" / f"{each['method']}-seed0" / "result.json")["curves"]
        assert {curve["attack"] for curve in curves} == {"same", "benign"}
        assert all("mcq_forget" in curve["values"] for curve in curves)
    assert "There is no verdict" in summary["verdict"]
    assert "npo: forget loss" in summary["verdict"]
    assert read_json(study / "data" / "manifest.json")["settings"]["pools"] == "fitted"
    assert (study / "figures" / "relearning.png").exists()


@pytest.fixture(scope="module")
def words_study(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished study that forgets single words and relearns some texts."""
    folder = tmp_path_factory.mktemp("words")
    records = [{"meta": {"text": text}, "name": "silver"} for text in FORGET]
    forget = write_lines(folder / "forget.jsonl", records)
    relearn = write_lines(folder / "relearn.jsonl", records[:3])
    flags = ["--forget", forget, "--forget-field", "name", "--relearn", relearn]
    asked = given / "questions.jsonl"
    flags += ["--questions", asked, "--relearn-questions", asked, "--loop.steps", "0"]
    methods = ["--method", "unrouted", "npo", "rmu", "--rmu.layer", "1", "--rmu.steps", "2"]
    assert call(given, folder / "out", *map(str, flags), *methods) == 0
    return folder / "out"


def test_single_words_are_forgotten_and_a_part_of_the_facts_relearned(
    words_study: Path, study: Path
) -> None:
    shown = {}
    for method in ("unrouted", "npo", "rmu"):
        result = read_json(words_study / "runs" / f"{method}-seed0" / "result.json")
        (half,) = (each for each in result["curves"] if each["attack"] == "half")
        assert half["values"]["mcq_forget_second"][0] == result["mcq_forget_second"]["repaired"]
        shown[method] = max(half["values"]["mcq_forget_second"])
    summary = read_json(words_study / "summary.json")["results"]
    assert {each["method"]: each["relearned_facts"] for each in summary} == shown
    npo = [
        read_json(folder / "runs" / "npo-seed0" / "result.json")["forget_loss"]["after"]
        for folder in (words_study, study)
    ]
    assert npo[0] != npo[1]  # the same texts, of which words alone were unlearned
    labels = Shards(words_study / "data", read_manifest(words_study / "data"))
    tokens, found = labels.document(0)
    assert tokenizer().decode(tokens[found == FORGET_LABEL]).strip() == "silver"


def test_study_resumes_in_its_folder_or_another_and_writes_no_models(
    study: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(study, moved)
    for folder in (study, moved):
        written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
        assert cli.run(main, ["--resume", str(folder)]) == 0
        assert {path: path.stat().st_mtime_ns for path in written} == written
    assert read_json(moved / "config.json")["run"]["data"] == str(moved / "data")


def test_removed_shards_and_runs_come_back_bit_for_bit(study: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(study, again)
    for name in ("data", "runs"):
        shutil.rmtree(again / name)
    assert cli.run(main, ["--resume", str(again)]) == 0
    for name in ("data/tokens-00000.bin", "runs/npo-seed0/model.safetensors"):
        assert (again / name).read_bytes() == (study / name).read_bytes()


def test_changed_texts_and_questions_are_refused(
    study: Path, given: Path, tmp_path: Path, capsys: Capture
) -> None:
    files = {name: given / name for name in ("forget.jsonl", "questions.jsonl")}
    for name, message in (
        ("forget.jsonl", r"forget.jsonl changed): choose another folder"),
        ("questions.jsonl", "holds another run: its asked.forget is"),
    ):
        before = files[name].read_bytes()
        try:
            files[name].write_bytes(before.replace(b"silver", b"golden"))
            assert message in refused(capsys, cli_main, "--resume", study)
        finally:
            files[name].write_bytes(before)


def cli_main(*args: object) -> int:
    return cli.run(main, [*map(str, args)])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "MODEL"], "was given without texts: name files of those to forget and to"),
        (["--model", "MODEL"], "--config pretrained teaches the model made-up stories instead"),
        (["--config", "texts", "--model", "MODEL"], "texts is for your own texts: name files"),
        (["--forget", "FORGET"], "texts to forget were given, and none to retain: name files by"),
        (["--forget", "FORGET", "--retain", "RETAIN"], "were given without a model: name one by"),
        (
            ["--model", "MODEL", "--forget", "RETAIN", "--retain", "RETAIN"],
            "is also one to retain: give some that are not",
        ),
        (
            ["--model", "MODEL", "--forget", "nowhere.txt", "--retain", "RETAIN"],
            "there is no file nowhere.txt",
        ),
        (
            ["--model", "MODEL", "--forget", "FORGET", "--retain", "RETAIN", "--data", "shards"],
            "--data shards and --forget",
        ),
        (
            ["--model", "MODEL", "--forget", "FORGET", "--retain", "RETAIN", "--loop.steps", "0"],
            "--loop.steps 0 leaves the model as it is, and gold is the model trained without",
        ),
        (
            [
                *("--model", "MODEL", "--forget", "FORGET", "--retain", "RETAIN"),
                *("--method", "lora-pair", "--loop.steps", "0"),
            ],
            "lora-pair removes only what it has routed",
        ),
        (["--questions", "QUESTIONS"], "questions were given without texts"),
        (
            [
                *("--model", "MODEL", "--forget", "FORGET", "--retain", "RETAIN"),
                *("--relearn", "QUESTIONS", "--relearn-questions", "QUESTIONS"),
            ],
            "has no text in a field 'meta.text'",
        ),
        (
            [
                *("--model", "MODEL", "--forget", "FORGET", "--retain", "RETAIN"),
                *("--questions", "FORGET"),
            ],
            "lacks question, choices, answer",
        ),
    ],
)
def test_what_cannot_be_unlearned_is_refused_before_anything_is_written(
    flags: list[str], message: str, given: Path, tmp_path: Path, capsys: Capture
) -> None:
    names = {
        "MODEL": given / "model",
        "FORGET": given / "forget.jsonl",
        "RETAIN": given / "retain",
        "QUESTIONS": given / "questions.jsonl",
    }
    args = [str(names.get(flag, flag)) for flag in flags]
    field = ["--text-field", "meta.text"] if "--forget" in flags else []
    line = refused(capsys, cli_main, "--run-dir", tmp_path / "out", *args, *field)
    assert message in line
    assert not (tmp_path / "out").exists()


def test_full_suite_asks_the_questions_of_layers_and_of_rounded_models(
    study: Path, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    shutil.copytree(study, full)
    assert cli_main("--resume", full, "--attack", "full", "--method", "npo") == 0
    rows = read_json(full / "runs" / "npo-seed0" / "result.json")["grid"]
    asked = {row["attack"] for row in rows if row["figure"] == "facts"}
    assert asked == {"same", "benign", "lora-same", "lora-benign", "quantized", "logit-lens"}
    layers = [row["setting"]["layer"] for row in rows if row["attack"] == "logit-lens"]
    assert layers == [0, 1]


@pytest.mark.parametrize(
    ("methods", "steps"),
    [((), 100), (("npo",), 0), (("unrouted", "rmu", "npo"), 0), (("npo", "lora-pair"), 100)],
)
def test_dry_run_prices_texts_with_the_default_steps_of_the_methods(
    methods: tuple[str, ...], steps: int, given: Path, tmp_path: Path, capsys: Capture
) -> None:
    model = ("--model", given / "model", "--run-dir", tmp_path / "out", "--context", "40")
    named = ("--method", *methods) if methods else ()
    capsys.readouterr()
    assert cli_main(*model, *texts(given), *named, "--dry-run") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{steps} steps x 8 x 40" in printed
    assert not (tmp_path / "out").exists()
