"""Documents are prepared as shards, and interrupted preparation ends with equal bytes."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from lm.data.labeling import LabelerConfig
from lm.data.preparation import PreparationConfig, prepare
from lm.data.shards import ShardWriter, open_shards
from lm.data.sources import Files
from tests.lm.data.factories import (
    END,
    FORMATS,
    RECORDS,
    make_tokenizer,
    write_lines,
    write_records,
)

transformers = pytest.importorskip("transformers")

TOKENIZER = make_tokenizer()
SMALL = {"documents": 40, "context": 14, "shard_tokens": 100}


def make_config(folder: Path, **settings: Any) -> PreparationConfig:  # noqa: ANN401
    source = Files(path=write_lines(folder / "documents.jsonl"))
    return PreparationConfig(**{"source": source, **SMALL, **settings})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_documents_are_tokenized_and_cut_at_the_context(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    manifest = prepare(make_config(tmp_path), tokenizer, tmp_path / "out")
    shards = open_shards(tmp_path / "out", tokenizer)
    cut = 0
    for number in range(40):
        tokens, labels = shards.document(number)
        whole = [*tokenizer(RECORDS[number]["text"])["input_ids"], 0]
        cut += len(whole) > 14
        assert tokens.tolist() == whole[:14]
        assert set(labels.tolist()) == {2 if RECORDS[number]["topic"] in ("forest", "tree") else 0}
    assert 0 < cut < 40
    assert manifest.documents == {"retain": 26, "unlabeled": 0, "forget": 14}
    assert len(manifest.shards) > 3


def test_documents_are_stored_whole_without_a_context_limit(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    prepare(make_config(tmp_path, context=None, documents=None), tokenizer, tmp_path / "out")
    shards = open_shards(tmp_path / "out")
    assert [tokenizer.decode(shards.document(n)[0]) for n in range(len(shards))] == [
        f"{each['text']}{END}" for each in RECORDS
    ]


def test_end_token_spelled_in_a_text_does_not_end_the_document(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    text = f"a{END}b"
    source = Files(path=write_lines(tmp_path / "a.jsonl", [{"text": text}]))
    prepare(PreparationConfig(source=source), tokenizer, tmp_path / "out")
    tokens, _ = open_shards(tmp_path / "out").document(0)
    assert tokens.tolist().count(0) == 1
    assert tokenizer.decode(tokens) == text + END


def test_preparation_resumes_after_an_interruption_at_any_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file is renamed by one `Path.replace`, and preparation is interrupted before each."""
    config, tokenizer = make_config(tmp_path, documents=20), make_tokenizer()
    prepare(config, tokenizer, tmp_path / "whole")
    expected = content(tmp_path / "whole")
    replace, left = Path.replace, [0]

    def until(part: Path, target: Path) -> Path:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return replace(part, target)

    monkeypatch.setattr(Path, "replace", until)
    shards = len(open_shards(tmp_path / "whole").manifest.shards)
    for first in range(4 * shards + 1):  # three files and the manifest each, and that it is all
        left[0] = first
        with pytest.raises(KeyboardInterrupt):
            prepare(config, tokenizer, tmp_path / str(first))
        left[0] = -1
        prepare(config, tokenizer, tmp_path / str(first))
        assert content(tmp_path / str(first)) == expected
    for _ in range(shards):  # cut each time when one more shard is there
        left[0] = 4
        with pytest.raises(KeyboardInterrupt):
            prepare(config, tokenizer, tmp_path / "often")
    left[0] = 1
    prepare(config, tokenizer, tmp_path / "often")
    assert content(tmp_path / "often") == expected
    prepare(config, tokenizer, tmp_path / "often")  # there is nothing left to write


@pytest.mark.parametrize(
    "changed",
    [
        {"documents": 41},
        {"context": 15},
        {"shard_tokens": 101},
        {"labeler": LabelerConfig(words=("sea",))},
        {"source": Files(path=Path("other.txt"))},
    ],
)
def test_preparation_refuses_to_resume_with_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.txt").write_text("a")
    config, tokenizer = make_config(tmp_path), make_tokenizer()
    prepare(config, tokenizer, tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(ValueError, match="holds data prepared with other settings"):
        prepare(make_config(tmp_path, **changed), tokenizer, tmp_path / "out")
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("change", ["fewer", "of equal length"])
def test_preparation_refuses_to_resume_when_a_source_file_changed(
    tmp_path: Path, change: str
) -> None:
    config, tokenizer = make_config(tmp_path), make_tokenizer()
    prepare(config, tokenizer, tmp_path / "out")
    before = content(tmp_path / "out")
    path = tmp_path / "documents.jsonl"
    text = path.read_text()
    path.write_text(text[:-10] if change == "fewer" else text.replace("forest", "jungle"))
    with pytest.raises(ValueError, match=r"from other files \(.*documents\.jsonl changed\)"):
        prepare(config, tokenizer, tmp_path / "out")
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize(("first", "then"), [("ab", "a"), ("a", "ab")])
def test_preparation_refuses_to_resume_when_a_file_is_new_or_gone(
    tmp_path: Path, first: str, then: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    config, tokenizer = PreparationConfig(source=Files(path=source)), make_tokenizer()
    for name in first:
        (source / f"{name}.txt").write_text(f"text {name}")
    prepare(config, tokenizer, tmp_path / "out")
    (source / "b.txt").unlink() if "b" in first else (source / "b.txt").write_text("text b")
    how = "is gone" if "b" in first else "is new"
    with pytest.raises(ValueError, match=rf"b\.txt {how}\)"):
        prepare(config, tokenizer, tmp_path / "out")


def test_shards_of_equal_length_and_other_content_are_not_returned(tmp_path: Path) -> None:
    config, tokenizer = make_config(tmp_path), make_tokenizer()
    prepare(config, tokenizer, tmp_path / "out")
    path = tmp_path / "out" / "tokens-00001.bin"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(ValueError, match=r"shard 1 of .* is damaged"):
        prepare(config, tokenizer, tmp_path / "out")


def test_data_are_refused_when_the_tokenizer_differs(tmp_path: Path) -> None:
    config, other = make_config(tmp_path), make_tokenizer(331)
    prepare(config, make_tokenizer(), tmp_path / "out")
    with pytest.raises(ValueError, match=r"other settings \(tokenizer_checksum"):
        prepare(config, other, tmp_path / "out")
    with pytest.raises(ValueError, match="the model has another: prepare the data with") as caught:
        open_shards(tmp_path / "out", other)
    assert "\n" not in str(caught.value)


def test_prepare_refuses_a_tokenizer_without_end_and_a_source_without_documents(
    tmp_path: Path,
) -> None:
    tokenizer = make_tokenizer()
    (tmp_path / "empty.txt").write_text("\n")
    empty = PreparationConfig(source=Files(path=tmp_path / "empty.txt"))
    with pytest.raises(ValueError, match="the source holds no document with text"):
        prepare(empty, tokenizer, tmp_path / "out")
    without = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a"))
    )
    with pytest.raises(ValueError, match="has no end-of-text token"):
        prepare(make_config(tmp_path), without, tmp_path / "out")


@pytest.mark.parametrize("name", ["documents", "context", "shard_tokens"])
def test_preparation_config_refuses_numbers_below_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} 0 was given: give 1 or more"):
        make_config(tmp_path, **{name: 0})


MIXED: list[dict[str, Any]] = [
    {"text": f'Story {n}: the {"forest" if n % 3 else "sea"},\n"old" and wide {n % 7}.'}
    | {"id": n, "topic": "sea" if n % 4 else "", "score": n / 30, "meta.note": f"n{n}"}
    for n in range(30)
]
"""Documents with line ends and quotes, and with labels of several kinds."""


@pytest.mark.parametrize("compression", ["", ".gz", ".ZST"])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "labeler",
    [
        {},
        {"labeler": "field", "field": "topic", "forget_values": ("sea",)},
        {"labeler": "scores", "field": "score", "low": 0.2, "high": 0.7},
        {"labeler": "list", "field": "id"},
    ],
    ids=["words", "field", "scores", "list"],
)
def test_each_format_gives_the_same_shards(
    tmp_path: Path, suffix: str, compression: str, labeler: dict[str, Any]
) -> None:
    if labeler.get("labeler") == "list":
        labels = {str(n): ("retain", "unlabeled", "forget")[n % 3] for n in range(30)}
        (tmp_path / "labels.json").write_text(json.dumps(labels))
        labeler = labeler | {"labels": tmp_path / "labels.json"}
    made = []
    for name in ("plain.jsonl", f"a{suffix}{compression}"):
        source = Files(path=write_records(tmp_path / name, MIXED))
        config = PreparationConfig(
            source=source, labeler=LabelerConfig(**labeler), shard_tokens=300
        )
        manifest = prepare(config, TOKENIZER, tmp_path / f"out-{name}")
        made.append((manifest.shards, manifest.findings, manifest.marks))
    (shards, *rest), (others, *also) = made
    assert [each.checksum for each in shards] == [each.checksum for each in others]
    assert [each.documents for each in shards] == [each.documents for each in others]
    assert rest == also
    assert len(shards) > 1
    assert set(others[0].origins) == {f"{suffix}{compression.lower()}"}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl.gz"])
def test_preparation_of_each_format_resumes_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    records = [each if n % 5 else {**each, "text": None} for n, each in enumerate(MIXED)]
    source = Files(path=write_records(tmp_path / f"a{suffix}", records))
    config = PreparationConfig(source=source, shard_tokens=200)
    prepare(config, TOKENIZER, tmp_path / "whole")
    monkeypatch.setattr("lm.data.preparation.TOKENIZER_BATCH", 1)
    write, shards = ShardWriter._write, list[ShardWriter]()

    def interrupted(writer: ShardWriter) -> None:
        write(writer)
        shards.append(writer)
        if len(shards) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ShardWriter, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, TOKENIZER, tmp_path / "cut")
    assert content(tmp_path / "cut") != content(tmp_path / "whole")
    prepare(config, TOKENIZER, tmp_path / "cut")
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_conversations_are_encoded_with_the_tokens_of_turns(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.chat_template = (
        "{% for m in messages %}<|turn|>{{ m.role }}: {{ m.content }}\n{% endfor %}"
    )
    messages = [{"role": "user", "content": "A tree?"}, {"role": "me", "content": f"No{END}"}]
    records: list[dict[str, Any]] = [{"messages": messages}, {"text": "a <|turn|>"}]
    source = Files(path=write_records(tmp_path / "a.jsonl", records))
    manifest = prepare(PreparationConfig(source=source), tokenizer, tmp_path / "out")
    turn = tokenizer.convert_tokens_to_ids("<|turn|>")
    tokens, labels = open_shards(tmp_path / "out").document(0)
    assert (tokens == turn).sum() == 2
    assert labels.tolist() == [2] * len(tokens)
    assert tokenizer.decode(tokens).startswith("<|turn|>user: A tree?\n<|turn|>me: No")
    assert turn not in open_shards(tmp_path / "out").document(1)[0]
    assert manifest.findings["separators"] == 1  # in what a message says
    tokenizer.chat_template += "."
    with pytest.raises(ValueError, match="chat_template_checksum was"):
        prepare(PreparationConfig(source=source), tokenizer, tmp_path / "out")


def test_tokenizer_without_end_and_pad_tokens_separates_documents_by_line_ends(
    tmp_path: Path,
) -> None:
    whole = make_tokenizer()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=whole.backend_tokenizer)
    assert tokenizer.eos_token is tokenizer.pad_token is None
    source = Files(path=write_lines(tmp_path / "a.jsonl", [{"text": "None, a tree"}]))
    prepare(PreparationConfig(source=source), tokenizer, tmp_path / "a")  # END is in its vocabulary
    assert open_shards(tmp_path / "a").manifest.vocabulary.around == (END, END)
    assert "separators" not in open_shards(tmp_path / "a").manifest.findings
    bare = Tokenizer(models.BPE({"a": 0, "\n": 1}, []))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bare)
    manifest = prepare(
        PreparationConfig(source=Files(path=write_lines(tmp_path / "b.jsonl", [{"text": "aa"}]))),
        tokenizer,
        tmp_path / "b",
    )
    assert (manifest.vocabulary.start, manifest.vocabulary.end) == (1, 1)
    assert open_shards(tmp_path / "b", tokenizer).document(0)[0].tolist() == [0, 0, 1]
