"""All that can be odd about labels and documents is counted, and told in a line."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lm.data.document import encode_documents
from lm.data.findings import SENTENCES, require_something_to_forget, sentences
from lm.data.labeling import LabelerConfig
from lm.data.preparation import PreparationConfig, prepare
from lm.data.shards import Manifest, Shards, open_shards, read_manifest
from lm.data.sources import Files
from tests.lm.data.factories import make_tokenizer, write_lines

TOKENIZER = make_tokenizer()


def prepared(
    folder: Path,
    records: Sequence[Mapping[str, Any]],
    labeler: LabelerConfig | None = None,
    **options: Any,  # noqa: ANN401
) -> Manifest:
    """Return the manifest of prepared records."""
    source = Files(path=write_lines(folder / "documents.jsonl", records))
    config = PreparationConfig(source=source, labeler=labeler or LabelerConfig(), **options)
    manifest = prepare(config, TOKENIZER, folder / "out")
    read = read_manifest(folder / "out")
    for name in ("shards", "findings", "marks"):
        assert getattr(read, name) == getattr(manifest, name)
    return manifest


def found(manifest: Manifest) -> dict[str, int]:
    """Return the counts above zero, without that of all marks."""
    return {name: n for name, n in manifest.findings.items() if n and name != "marks"}


def of_texts(*texts: str) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


def test_words_of_no_document_are_named(tmp_path: Path) -> None:
    words = LabelerConfig(words=("forest", "oak", "sea", "elm"))
    manifest = prepared(
        tmp_path, of_texts("a forest, a Forest", "the sea", "forest sea", "x"), words
    )
    assert manifest.marks == {"forest": 2, "oak": 0, "sea": 2, "elm": 0}
    assert found(manifest) == {"unused_marks": 2}
    assert list(sentences(manifest)) == [
        "documents from .jsonl: 4",
        "warning: words in no document: 2 of 4 ('oak', 'elm')",
    ]


def test_data_without_a_label_are_reported(tmp_path: Path) -> None:
    told = list(sentences(prepared(tmp_path, of_texts("a", "b"))))
    assert told[1] == "warning: documents labeled forget: 0 of 2, and a study needs some"
    assert told[2].startswith("warning: words in no document: 6 of 6 ('tree', 'trees'")
    (tmp_path / "all").mkdir()
    told = list(sentences(prepared(tmp_path / "all", of_texts("tree", "trees"))))
    assert told[1] == "warning: documents labeled retain: 0 of 2, and a study needs some"


def test_long_documents_are_labeled_by_what_is_kept(tmp_path: Path) -> None:
    long = "very " * 30
    texts = (f"forest {long}", f"{long} forest", f"so {long}", "sea")
    manifest = prepared(tmp_path, of_texts(*texts), LabelerConfig(words=("forest",)), context=8)
    assert manifest.documents == {"retain": 3, "unlabeled": 0, "forget": 1}
    lengths = [len(TOKENIZER(text)["input_ids"]) for text in texts[:3]]
    dropped = sum(length - 8 for length in lengths)
    assert found(manifest) == {
        "cut": 3,
        "dropped_tokens": dropped,
        "beyond_cut": 1,
    }
    told = list(sentences(manifest))
    assert told[1] == f"documents cut at 8 tokens: 3 (tokens dropped: {dropped})"
    assert told[2].startswith("warning: documents with something to forget only beyond the cut")


def test_document_of_exactly_the_context_is_not_cut(tmp_path: Path) -> None:
    text = "Story 1: the tree was old."
    size = len(TOKENIZER(text)["input_ids"])
    assert "cut" not in prepared(tmp_path, of_texts(text), context=size).findings
    (tmp_path / "less").mkdir()
    assert prepared(tmp_path / "less", of_texts(text), context=size - 1).findings["cut"] == 1


@pytest.mark.parametrize("context", range(1, 14))
def test_kept_text_ends_before_a_word_that_is_cut(context: int) -> None:
    tokenizer = make_tokenizer(300)  # of few words, so that each is several tokens
    text = "one unusual-looking caf\u00e9"
    (encoded,) = encode_documents(tokenizer, [text], 0, context)
    spelled = tokenizer.decode(encoded.tokens)
    assert text.startswith(encoded.text)
    assert spelled.startswith(encoded.text)
    assert encoded.text == "" or not text[len(encoded.text) - 1 : len(encoded.text) + 1].isalnum()
    assert encoded.dropped == len(tokenizer(text)["input_ids"]) - context


@pytest.mark.parametrize("context", range(1, 12))
def test_kept_text_of_a_script_without_spaces_ends_at_a_whole_character(context: int) -> None:
    tokenizer, text = make_tokenizer(256), "\u5927\u68ee\u6797\u91cc"  # three tokens each
    (encoded,) = encode_documents(tokenizer, [text], 0, context)
    assert encoded.text == text[: context // 3]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a forest", "a "),
        ("a cafe\u0301", "a "),
        ("a fo\u200brest", "a "),
        ("a forest, ", "a forest"),
        ("a oak_tree", "a "),
    ],
)
def test_kept_text_has_no_part_of_a_word(text: str, kept: str) -> None:
    tokenizer = make_tokenizer(256)  # of single bytes
    size = len(tokenizer(text)["input_ids"])
    cut = {encode_documents(tokenizer, [text], 0, n)[0].text for n in range(3, size)}
    assert cut <= {"a ", kept, "a forest,"}
    assert encode_documents(tokenizer, [text], 0, size)[0].text == text


def test_tokens_beyond_the_cut_are_counted(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(texts=[" virus"] * 20)
    source = Files(path=write_lines(tmp_path / "a.jsonl", of_texts("very " * 30 + " virus", "b")))
    labeler = LabelerConfig(labeler="tokens", words=(" virus",))
    config = PreparationConfig(source=source, labeler=labeler, context=8)
    manifest = prepare(config, tokenizer, tmp_path / "out")
    assert manifest.findings["beyond_cut"] == manifest.findings["unused_marks"] == 1


def test_values_that_are_empty_or_of_no_document_are_counted(tmp_path: Path) -> None:
    values = (1.0, 0, None, "", 7)
    records = [{"text": f"text {n}", "label": value} for n, value in enumerate(values)]
    labeler = LabelerConfig(labeler="field", forget_values=("1", "3", "1.0"))
    manifest = prepared(tmp_path, records, labeler)
    assert manifest.documents == {"retain": 2, "unlabeled": 2, "forget": 1}
    assert manifest.marks == {"1": 1, "3": 0}
    assert found(manifest) == {"empty_values": 2, "unused_marks": 1, "doubled_marks": 1}
    told = list(sentences(manifest))
    assert "warning: values in no document: 1 of 2 ('3')" in told
    assert "warning: values that were given again: 1" in told


def test_values_that_differ_in_the_case_of_letters_are_counted(tmp_path: Path) -> None:
    records = [{"text": f"text {n}", "label": each} for n, each in enumerate(("Bio", "bio", "x"))]
    manifest = prepared(tmp_path, records, LabelerConfig(labeler="field", forget_values=("bio",)))
    assert manifest.documents["forget"] == 1
    assert found(manifest) == {"other_case": 1}
    told = "differs from a given one in the case of letters, and does not count as it: 1"
    assert any(told in line for line in sentences(manifest))


def test_repeated_and_contradictory_documents_are_counted(tmp_path: Path) -> None:
    records = [{"text": f"text {n % 20}", "label": n // 30} for n in range(40)]
    records += [{"text": "lone", "label": 0}]
    labeler = LabelerConfig(labeler="field", forget_values=("1",))
    manifest = prepared(tmp_path, records, labeler, shard_tokens=60)
    assert len(manifest.shards) > 2
    findings = manifest.findings
    # 30 to 39 are labeled forget, and repeat the texts of 10 to 19
    assert (findings["repeated"], findings["contradictory"]) == (20, 20)
    assert 0 < findings["shared"] <= 12


def test_labels_of_a_list_that_no_document_has_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("retain\nforget\nretain\nretain\n")
    labeler = LabelerConfig(labeler="list", labels=path)
    manifest = prepared(tmp_path, of_texts("a", "b"), labeler)
    assert found(manifest) == {"unused_labels": 2}
    (tmp_path / "some").mkdir()  # of which no more is known
    assert found(prepared(tmp_path / "some", of_texts("a", "b"), labeler, documents=1)) == {}


def test_ids_that_are_shared_or_of_no_document_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"1": "retain", "2": "forget", "3": "retain", "4": "retain", "4": "retain"}')
    records = [{"text": f"text {n}", "id": n // 2} for n in range(2, 6)]
    labeler = LabelerConfig(labeler="list", labels=path, field="id")
    manifest = prepared(tmp_path, records, labeler)
    assert found(manifest) == {"shared_ids": 2, "unused_marks": 2, "doubled_marks": 1}
    assert "warning: ids in no document: 2 of 4" in list(sentences(manifest))


def test_records_that_are_blank_or_spell_separators_are_counted(tmp_path: Path) -> None:
    texts = ("", "tree", "\u200b\n", "a<|endoftext|>b", " ", "\u3164")
    manifest = prepared(tmp_path, of_texts(*texts), shard_tokens=1)
    assert (manifest.findings["blank"], manifest.findings["separators"]) == (4, 1)
    assert sum(manifest.documents.values()) == 2
    assert "records without text, which were skipped: 4" in list(sentences(manifest))


def test_origins_of_documents_and_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "__MACOSX").mkdir(parents=True)
    (folder / "__MACOSX" / "._a.jsonl").write_bytes(b"\0")
    write_lines(folder / "a.jsonl", of_texts("one", "two"))
    (folder / "b.txt").write_text("three\n\nmore")
    (folder / "c.txt").write_text("four<|endoftext|>five")
    (folder / "notes.md").write_text("not read")
    (folder / "gone.txt").symlink_to(folder / "nowhere.txt")
    manifest = prepare(PreparationConfig(source=Files(path=folder)), TOKENIZER, tmp_path / "out")
    assert list(sentences(manifest))[:3] == [
        "documents from .jsonl: 2",
        "documents from .txt, divided by files: 1",
        "documents from .txt, divided by separators: 2",
    ]
    told = "files that were not read, hidden or of other kinds, and links to folders or pages: 3"
    assert told in list(sentences(manifest))
    totals = json.loads((tmp_path / "out" / "manifest.json").read_text())["totals"]
    assert totals["origins"][".jsonl"] == 2


def test_text_is_never_normalized(tmp_path: Path) -> None:
    text = "cafe\u0301 fo\u200brest \ufb01n"
    manifest = prepared(tmp_path, of_texts(text))
    assert manifest.documents["forget"] == 1
    tokens, _ = open_shards(tmp_path / "out").document(0)
    assert TOKENIZER.decode(tokens[:-1]) == text
    assert "casefold, NFC" in manifest.settings["labeler"]["form_of_words"]


def test_each_count_has_a_sentence(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, of_texts("a"))
    assert set(manifest.findings) - {"marks", "dropped_tokens"} <= set(SENTENCES)


@pytest.mark.parametrize(
    ("labeler", "message"),
    [
        (
            {"words": ("oak", "elm")},
            "no document of 4 is labeled forget, as none has one of the words 'oak', 'elm': "
            "give others by --words",
        ),
        (
            {"words": ("late",)},
            "as none has one of the words 'late': give others by --words (documents with one "
            "beyond the cut: 1; a larger --context keeps it)",
        ),
        (
            {"labeler": "tokens", "words": ("x", "z")},
            "as none has one of the words 'x', 'z': give others by --words",
        ),
        (
            {"labeler": "field", "forget_values": ("c",)},
            "as none has one of the values 'c': give others by --forget-values",
        ),
        (
            {"labeler": "field", "forget_values": ("c",), "retain_values": ("a",)},
            "no document of 4 is labeled forget: give others by --forget-values",
        ),
        ({"labeler": "scores", "field": "n"}, "is labeled forget: give others by --high"),
        (
            {"labeler": "field", "field": "side", "forget_values": ("1",)},
            "every document to forget (1) has the kept text of one to retain: label equal",
        ),
    ],
)
def test_data_with_nothing_to_forget_are_refused(
    tmp_path: Path, labeler: dict[str, Any], message: str
) -> None:
    texts = ("one", "two", "one", f"two {'very ' * 30}late")
    records = [
        {"text": text, "label": "ab"[n % 2], "n": n / 10, "side": n == 2}
        for n, text in enumerate(texts)
    ]
    manifest = prepared(tmp_path, records[:4], LabelerConfig(**labeler), context=4)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        require_something_to_forget(Shards(tmp_path / "out", manifest))
    assert "\n" not in str(caught.value)


def test_data_with_something_to_forget_pass(tmp_path: Path) -> None:
    records = [{"text": text, "label": n > 1} for n, text in enumerate(("a", "b", "a", "c"))]
    manifest = prepared(tmp_path, records, LabelerConfig(labeler="field", forget_values=("1",)))
    assert manifest.findings["contradictory"] == 2
    require_something_to_forget(Shards(tmp_path / "out", manifest))
