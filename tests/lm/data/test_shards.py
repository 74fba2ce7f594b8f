"""Shards give back the tokens and labels that were written; what does not fit is refused."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.data.document import Ids
from lm.data.labeling import Labels
from lm.data.shards import MANIFEST_FILE, ShardWriter, open_shards, pack, read_manifest, unpack
from tests.lm.data.made import make_manifest, make_shards

NO_LABELS = np.zeros(2, np.uint8)


@given(st.lists(st.integers(0, 2)), st.integers(0, 40), st.integers(0, 40))
def test_bitmaps_give_back_any_part_of_the_labels(labels: list[int], one: int, two: int) -> None:
    whole = np.array(labels, np.uint8)
    start, stop = sorted((min(one, len(labels)), min(two, len(labels))))
    planes = pack(whole)
    assert planes.size == 2 * -(-len(labels) // 8)
    assert np.array_equal(unpack(planes, start, stop), whole[start:stop])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 60))
def test_documents_come_back(lengths: list[int], shard_tokens: int) -> None:
    with TemporaryDirectory() as folder:
        shards, made = make_shards(Path(folder), lengths, shard_tokens)
        assert len(shards) == len(made)
        for number, (tokens, labels) in enumerate(made):
            read, theirs = shards.document(number)
            assert np.array_equal(read, tokens)
            assert np.array_equal(theirs, labels)
        assert shards.document_labels().tolist() == [labels.max() for _, labels in made]
        for shard in shards.manifest.shards[:-1]:
            assert shard_tokens <= sum(shard.tokens) < shard_tokens + max(lengths)


def test_the_manifest_counts_documents_and_tokens_of_each_label(tmp_path: Path) -> None:
    _, made = make_shards(tmp_path, [5, 1, 9, 2, 3], 8)
    manifest = read_manifest(tmp_path)
    tokens = np.concatenate([labels for _, labels in made])
    assert list(manifest.tokens.values()) == [int((tokens == n).sum()) for n in range(3)]
    highest = np.array([labels.max() for _, labels in made])
    assert list(manifest.documents.values()) == [int((highest == n).sum()) for n in range(3)]
    assert (len(manifest.shards), manifest.next_record, manifest.complete) == (2, 5, True)


@pytest.mark.parametrize(("size", "width"), [(65_535, 2), (65_536, 4), (151_936, 4)])
def test_large_vocabularies_have_wide_tokens(tmp_path: Path, size: int, width: int) -> None:
    writer = ShardWriter(tmp_path, make_manifest(size), 10)
    largest = np.array([size - 1, 0])
    writer.add(0, largest, NO_LABELS)
    writer.close()
    assert np.array_equal(open_shards(tmp_path).document(0)[0], largest)
    assert (tmp_path / "tokens-00000.bin").stat().st_size == 2 * width


@pytest.mark.parametrize(
    ("tokens", "labels", "message"),
    [
        ([1, 100], NO_LABELS, "ids go from 0 to 99"),
        ([1, 65_536], NO_LABELS, "ids go from 0 to 99"),
        ([-1, 1], NO_LABELS, "ids go from 0 to 99"),
        ([], NO_LABELS[:0], "or none"),
        ([1, 2], NO_LABELS[:1], "give each one of retain"),
        ([1, 2], np.array([0, 3], np.uint8), "give each one of retain"),
    ],
)
def test_ids_and_labels_are_refused_and_never_wrapped(
    tmp_path: Path, tokens: list[int], labels: Labels, message: str
) -> None:
    writer = ShardWriter(tmp_path, make_manifest(), 10)
    ids: Ids = np.array(tokens, np.int64)
    with pytest.raises(ValueError, match=message):
        writer.add(7, ids, labels)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [-1, 3])
def test_there_is_no_document_beyond_the_last(tmp_path: Path, number: int) -> None:
    shards, _ = make_shards(tmp_path, [2, 2, 2], 4)
    with pytest.raises(IndexError, match="of 3"):
        shards.document(number)


@pytest.mark.parametrize("name", ["tokens-00001.bin", "labels-00000.bin", "starts-00001.bin"])
def test_a_file_that_is_short_or_missing_is_named(tmp_path: Path, name: str) -> None:
    make_shards(tmp_path, [9, 9, 9], 10)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{name} is \d+ bytes long, and the manifest says"):
        open_shards(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        open_shards(tmp_path)


def test_data_that_are_not_complete_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no prepared data"):
        open_shards(tmp_path)
    writer = ShardWriter(tmp_path, make_manifest(), 2)
    writer.add(0, np.array([1, 2]), NO_LABELS)
    with pytest.raises(ValueError, match="is not complete: call"):
        open_shards(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"vocabulary": 5}', "{"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST_FILE).write_text(content)
    with pytest.raises(ValueError, match=MANIFEST_FILE) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)
