from __future__ import annotations

import pytest

from storage.schema import metadata


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=str)
def test_every_table_and_column_says_what_it_is(table):
    sentences = [table.comment, *(column.comment for column in table.columns)]
    assert all(sentence and sentence.endswith(".") for sentence in sentences)


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=str)
def test_every_reference_is_indexed(table):
    firsts = {next(iter(index.columns)).name for index in table.indexes}
    firsts.add(next(iter(table.primary_key.columns)).name)
    assert {key.parent.name for key in table.foreign_keys} <= firsts
