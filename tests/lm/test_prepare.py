"""`python -m lm.prepare` prepares data, resumes after a kill, and refuses in one line."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lm import prepare
from lm.data.document import Located
from lm.data.manual_pages import PROGRAMS
from lm.data.shards import open_shards
from lm.models.hf_loading import load_tokenizer
from oversight.runs import cli
from tests.lm.data.factories import RECORDS, make_tokenizer, write_lines, write_records


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, str]:
    make_tokenizer().save_pretrained(tmp_path / "model")
    return {
        "--data": str(write_lines(tmp_path / "documents.jsonl")),
        "--tokenizer": str(tmp_path / "model"),
        "--out": str(tmp_path / "out"),
        "--context": "16",
    }


def call(flags: dict[str, str], *more: str) -> int:
    return cli.run(prepare.main, [*(part for pair in flags.items() for part in pair), *more])


def test_documents_are_prepared_and_counted(
    flags: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(flags, "--words", "forest", "sea", "--documents", "30") == 0
    printed = capsys.readouterr().out
    shards = open_shards(Path(flags["--out"]), load_tokenizer(flags["--tokenizer"]))
    counts = shards.manifest.tokens
    assert counts["unlabeled"] == 0
    assert f"forget                10 documents  {counts['forget']:>15,} tokens" in printed
    assert f"retain                20 documents  {counts['retain']:>15,} tokens" in printed
    assert f"30 documents, {sum(counts.values())} tokens, 0.0 MB in 1 shard" in printed
    assert call(flags, "--words", "forest", "sea", "--documents", "30") == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--documnts", "5"), "unknown argument '--documnts': did you mean --documents"),
        (("--labeler", "topic"), "invalid choice 'topic' for argument '--labeler'"),
        (("--labeler", "field"), "the labeler `field` needs --forget-values"),
        (("--labeler", "field", "--field", "genre", "--forget-values", "a"), "no field 'genre'"),
        (("--labeler", "list"), "the labeler `list` needs --labels"),
        (("--labeler", "list", "--labels", "gone.txt"), "there is no file of labels gone.txt"),
        (("--split", "train"), "files have no subset or split"),
        (("--text-field", "body"), "has no text in a field 'body', only text, topic"),
        (("--data", "nothing"), "'nothing' is no file or folder, nor a data set"),
        (("--data", "gone.jsonl"), "there is no file gone.jsonl"),
        (
            ("--tokenizer", "gone/model/of/none"),
            "gone/model/of/none is no model that can",
        ),
        (("--context", "0"), "context 0 was given: give 1 or more"),
        (("--documents", "-1"), "documents -1 was given: give 1 or more"),
    ],
)
def test_invalid_input_ends_with_one_line_and_exit_code_two(
    flags: dict[str, str], more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(flags, *more) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_leftover_parts_of_a_killed_preparation_are_removed(flags: dict[str, str]) -> None:
    out = Path(flags["--out"])
    out.mkdir()
    (out / "tokens-00000.bin.77.part").write_text("half")
    assert call(flags, "--context", "None") == 0
    assert {path.suffix for path in out.iterdir()} == {".bin", ".json", ""}
    assert open_shards(out).manifest.setting("context") is None
    with pytest.raises(ValueError, match="did not note 'color'"):
        open_shards(out).manifest.setting("color")


def test_data_of_other_settings_stay_as_they_are(
    flags: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(flags) == 0
    assert call(flags, "--context", "17") == 2
    assert "(context was 16 and is 17): choose another folder" in capsys.readouterr().err
    assert call(flags) == 0


def test_a_file_in_the_place_of_the_folder_is_refused(
    flags: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(flags["--out"]).write_text("no folder")
    assert call(flags) == 2
    errors = capsys.readouterr().err
    assert "out cannot be written (File exists): name another --out" in errors
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "more"),
    [
        ('{"text": "a"}\n{"text": "\\ud83d"}\n', ()),
        ('{"text": "a tree"}\n{"text": true}\n', ()),
        ("\n", ()),
        ('{"text": "a"}\n', ("--labeler", "field", "--forget-values", "1")),
        ('{"text": "a"}\n', ("--labeler", "tokens", "--words", "xqzkj")),
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_refused_preparation_leaves_nothing_behind(
    flags: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    more: tuple[str, ...],
    there: bool,
) -> None:
    flags["--out"] = str(tmp_path / "new" / "out")
    Path(flags["--data"]).write_text(content)
    if there:
        Path(flags["--out"]).mkdir(parents=True)
        (Path(flags["--out"]) / "mine.bin").write_text("stays")
    assert call(flags, "--shard-tokens", "1", *more) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    left = sorted(path.name for path in (tmp_path / "new").rglob("*"))
    assert left == (["mine.bin", "out"] if there else [])
    assert (tmp_path / "new").exists() == there


@pytest.mark.parametrize("shards", [0, 2])
def test_interrupted_preparation_leaves_complete_shards_only(
    flags: dict[str, str], monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    found = iter(range(shards))

    def add(*_: object) -> int:
        if next(found, None) is None:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr("lm.data.preparation.TOKENIZER_BATCH", 1)
    monkeypatch.setattr("lm.data.sources.is_blank", lambda text: bool(add()))
    assert call(flags, "--shard-tokens", "1") == 130
    assert Path(flags["--out"]).exists() == bool(shards)
    monkeypatch.undo()
    assert call(flags, "--shard-tokens", "1") == 0


def test_refused_resumption_leaves_the_earlier_shards(flags: dict[str, str]) -> None:
    assert call(flags) == 0
    before = {path: path.read_bytes() for path in Path(flags["--out"]).iterdir()}
    Path(flags["--data"]).write_text('{"text": null}')
    assert call(flags) == 2
    assert {path: path.read_bytes() for path in Path(flags["--out"]).iterdir()} == before


def test_shards_before_a_failure_of_the_network_stay(
    flags: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def records(*_: object) -> Iterator[Located]:
        yield Located("some/data, record 0", {"text": "a"})
        raise ValueError("the network is gone")

    monkeypatch.setattr("lm.data.sources._hub_records", records)
    monkeypatch.setattr("lm.data.preparation.TOKENIZER_BATCH", 1)
    assert call(flags | {"--data": "some/data"}, "--shard-tokens", "1") == 2
    assert "the network is gone" in capsys.readouterr().err
    assert (Path(flags["--out"]) / "manifest.json").exists()


def test_folders_that_would_be_read_as_documents_are_refused(
    flags: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "labels.txt").write_text("retain")
    assert call(flags | {"--data": str(folder), "--out": str(folder / "out")}) == 2
    assert "lies in the documents" in capsys.readouterr().err
    assert not (folder / "out").exists()
    labels = ("--labeler", "list", "--labels", str(folder / "labels.txt"))
    assert call(flags | {"--data": str(folder)}, *labels) == 2
    assert "the file of labels" in capsys.readouterr().err


@pytest.mark.parametrize(("split", "count"), [("auto", 2), ("blank-lines", 3), ("files", 2)])
def test_text_files_are_divided_as_the_flag_says(
    flags: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    split: str,
    count: int,
) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.txt").write_text("the forest\n\nthe sea")
    (folder / "b.txt").write_text("the tree")
    assert call(flags | {"--data": str(folder)}, "--text-split", split) == 0
    how = "blank-lines" if split == "blank-lines" else "files"
    printed = capsys.readouterr().out
    assert f"documents from .txt, divided by {how}: {count}" in printed.splitlines()
    assert "warning: words in no document: 4 of 6 ('trees', 'forests'" in printed


def test_mixed_folder_is_read_and_what_is_skipped_is_reported(
    flags: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "documents"
    (folder / "__MACOSX").mkdir(parents=True)
    for name in ("__MACOSX/._a.csv", ".DS_Store", "notes.md"):
        (folder / name).write_bytes(b"\0")
    for name in ("a.csv", "b.jsonl", "c.Parquet", "d.json.gz", "e.ndjson.zst"):
        records = [{"meta.text": f"{name} {n}: the forest" if n else None} for n in range(3)]
        write_records(folder / name, records)
    assert call(flags | {"--data": str(folder)}, "--text-field", "meta.text") == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("documents from")] == [
        f"documents from {kind}: 2"
        for kind in (".csv", ".jsonl", ".parquet", ".json.gz", ".ndjson.zst")
    ]
    assert "records without text, which were skipped: 5" in printed
    told = "files that were not read, hidden or of other kinds, and links to folders or pages: 3"
    assert told in printed


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".csv.zst", ".parquet"])
@pytest.mark.parametrize("fault", ["truncated", "field", "word"])
def test_files_that_cannot_be_used_are_refused_and_nothing_is_written(
    flags: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    suffix: str,
    fault: str,
) -> None:
    path = write_records(tmp_path / f"a{suffix}", RECORDS * 9)
    more = {"truncated": (), "field": ("--text-field", "meta.text"), "word": ("--words", "oak")}
    message = {
        "truncated": f"a{suffix} cannot be read (",
        "field": "has no text in a field 'meta.text', only text, topic, score, id",
        "word": "no document of 540 is labeled forget, as none has one of the words 'oak'",
    }
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    given = flags | {"--data": str(path)}
    assert call(given, "--shard-tokens", "200", *more[fault]) == 2
    errors = capsys.readouterr().err
    assert message[fault] in errors
    assert len(errors.strip().splitlines()) == 1
    assert not Path(flags["--out"]).exists()


def test_hub_data_with_nothing_to_forget_leave_nothing_behind(
    flags: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [Located("some/data, record 0", {"text": "a"})]
    monkeypatch.setattr("lm.data.sources._hub_records", lambda *_: iter(records))
    assert call(flags | {"--data": "some/data"}) == 2
    assert "no document of 1 is labeled forget" in capsys.readouterr().err
    assert not Path(flags["--out"]).exists()


@pytest.mark.skipif(not any(map(shutil.which, PROGRAMS)), reason="needs mandoc or groff")
def test_manual_pages_are_prepared_by_language_with_a_new_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, word in (("man1", "the"), ("de/man1", "der"), ("fr/man1", "le")):
        (tmp_path / "man" / folder).mkdir(parents=True)
        for number in range(4):
            text = f".TH LS 1\n.SH NAME\n{word} {number} \u00e4\u00df\n"
            (tmp_path / "man" / folder / f"ls{number}.1").write_text(text, "utf-8")
    flags = {
        "--data": str(tmp_path / "man"),
        "--tokenizer": str(tmp_path / "tokenizer"),
        "--vocab-size": "270",
        "--labeler": "field",
        "--field": "language",
        "--forget-values": "de",
        "--out": str(tmp_path / "out"),
    }
    for _ in range(2):  # the second call keeps the tokenizer, and has nothing to do
        assert call(flags) == 0
        printed = capsys.readouterr().out
        assert "forget                 4 documents" in printed
        assert "retain                 8 documents" in printed
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    ids = tokenizer("NAME\nder 1 \u00e4\u00df")["input_ids"]
    assert tokenizer.decode(ids) == "NAME\nder 1 \u00e4\u00df"
    for more, message in (
        ({"--vocab-size": "280"}, "holds a tokenizer of 270 tokens, not 280: leave out"),
        ({"--tokenizer": str(tmp_path / "man/new")}, "lies in the documents"),
        ({"--tokenizer": str(tmp_path / "man/de")}, "lies in the documents"),
        ({"--tokenizer": str(tmp_path / "out")}, "exists, and holds no tokenizer: name a new"),
        ({"--tokenizer": str(tmp_path / "b"), "--vocab-size": "9"}, "must be from 257 to 65536"),
        ({"--forget-values": "nl", "--out": str(tmp_path / "c")}, "nl"),
    ):
        assert call(flags | more) == 2
        printed = capsys.readouterr().err
        assert message in printed.replace("\n", " ")
        assert len(printed.strip().splitlines()) == 1
