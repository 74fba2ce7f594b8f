"""Shards are read as written, their rows and pools are exact, and damage is refused."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.data.document import Ids
from lm.data.labeling import Labels
from lm.data.shards import (
    MANIFEST_FILE,
    ShardWriter,
    document_row,
    open_shards,
    pack,
    read_manifest,
    unpack,
)
from lm.models.language_model import IGNORED
from tests.lm.data.factories import make_manifest, make_shards

NO_LABELS = np.zeros(2, np.uint8)


@given(st.lists(st.integers(0, 2)), st.integers(0, 40), st.integers(0, 40))
def test_unpack_returns_any_slice_of_packed_labels(labels: list[int], one: int, two: int) -> None:
    whole = np.array(labels, np.uint8)
    start, stop = sorted((min(one, len(labels)), min(two, len(labels))))
    planes = pack(whole)
    assert planes.size == 2 * -(-len(labels) // 8)
    assert np.array_equal(unpack(planes, start, stop), whole[start:stop])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 60))
def test_shards_return_the_written_documents(lengths: list[int], shard_tokens: int) -> None:
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


def test_manifest_counts_documents_and_tokens_by_label(tmp_path: Path) -> None:
    _, made = make_shards(tmp_path, [5, 1, 9, 2, 3], 8)
    manifest = read_manifest(tmp_path)
    tokens = np.concatenate([labels for _, labels in made])
    assert list(manifest.tokens.values()) == [int((tokens == n).sum()) for n in range(3)]
    highest = np.array([labels.max() for _, labels in made])
    assert list(manifest.documents.values()) == [int((highest == n).sum()) for n in range(3)]
    assert (len(manifest.shards), manifest.next_record, manifest.complete) == (2, 5, True)


@pytest.mark.parametrize(("size", "width"), [(65_535, 2), (65_536, 4), (151_936, 4)])
def test_token_width_depends_on_the_vocabulary_size(tmp_path: Path, size: int, width: int) -> None:
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
def test_writer_refuses_ids_and_labels_out_of_range(
    tmp_path: Path, tokens: list[int], labels: Labels, message: str
) -> None:
    writer = ShardWriter(tmp_path, make_manifest(), 10)
    ids: Ids = np.array(tokens, np.int64)
    with pytest.raises(ValueError, match=message):
        writer.add(7, ids, labels)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [-1, 3])
def test_document_raises_when_the_index_is_out_of_range(tmp_path: Path, number: int) -> None:
    shards, _ = make_shards(tmp_path, [2, 2, 2], 4)
    with pytest.raises(IndexError, match="of 3"):
        shards.document(number)


@pytest.mark.parametrize("name", ["tokens-00001.bin", "labels-00000.bin", "starts-00001.bin"])
def test_open_shards_names_a_short_or_missing_file(tmp_path: Path, name: str) -> None:
    make_shards(tmp_path, [9, 9, 9], 10)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{name} is \d+ bytes long, but the manifest records"):
        open_shards(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        open_shards(tmp_path)


def test_open_shards_refuses_incomplete_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no prepared data"):
        open_shards(tmp_path)
    writer = ShardWriter(tmp_path, make_manifest(), 2)
    writer.add(0, np.array([1, 2]), NO_LABELS)
    with pytest.raises(ValueError, match="is not complete: call"):
        open_shards(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"vocabulary": 5}', "{"])
def test_read_manifest_refuses_a_damaged_file(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST_FILE).write_text(content)
    with pytest.raises(ValueError, match=MANIFEST_FILE) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


LENGTHS = (3, 12, 1, 7, 30, 5, 5, 9, 2, 16, 4)


@settings(max_examples=25, deadline=None)
@given(context=st.integers(1, 35), shard_tokens=st.integers(35, 100))
def test_document_row_matches_a_slow_reference(
    tmp_path_factory: pytest.TempPathFactory, context: int, shard_tokens: int
) -> None:
    shards, made = make_shards(tmp_path_factory.mktemp("shards"), LENGTHS, shard_tokens)
    for number, (tokens, labels) in enumerate(made):
        row, routes = document_row(shards, number, context)
        lacking = context - len(tokens[:context])
        assert row.tolist() == [0, *tokens.tolist()[:context], *[IGNORED] * lacking]
        assert routes.tolist() == [*labels.tolist()[:context], *[0] * lacking]
