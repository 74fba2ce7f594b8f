"""Rows are those of a slow reference."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.data.shards import document_row
from lm.models.language_model import IGNORED
from tests.lm.data.made import make_shards

LENGTHS = (3, 12, 1, 7, 30, 5, 5, 9, 2, 16, 4)


@settings(max_examples=25, deadline=None)
@given(context=st.integers(1, 35), shard_tokens=st.integers(35, 100))
def test_rows_are_those_of_a_slow_reference(
    tmp_path_factory: pytest.TempPathFactory, context: int, shard_tokens: int
) -> None:
    shards, made = make_shards(tmp_path_factory.mktemp("shards"), LENGTHS, shard_tokens)
    for number, (tokens, labels) in enumerate(made):
        row, routes = document_row(shards, number, context)
        lacking = context - len(tokens[:context])
        assert row.tolist() == [0, *tokens.tolist()[:context], *[IGNORED] * lacking]
        assert routes.tolist() == [*labels.tolist()[:context], *[0] * lacking]
