"""Array literals that PostgreSQL reads: whatever the values, it gets these."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.store.database import Database
from receiver.store.postgresql.arrays import binaries, numbers, texts
from receiver.store.postgresql.engine import run_statement

pytestmark = pytest.mark.postgresql

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.none() | TEXTS | st.sampled_from(["", "NULL", "null", '"', "\\", "{}", ",", " a "])),
    st.lists(st.none() | st.floats() | st.integers(-(2**31), 2**31 - 1)),
    st.lists(st.binary()),
)
def test_a_database_reads_the_values_that_were_written(
    database: Database, words: list[str | None], figures: list[float | None], blobs: list[bytes]
) -> None:
    rows = database.query(
        run_statement,
        "SELECT %s::text[], %s::float8[], %s::bytea[]",
        (texts(words), numbers(figures), binaries(blobs)),
    )
    [(read_words, read_figures, read_blobs)] = rows
    assert read_words == words
    assert [repr(None if value is None else float(value)) for value in figures] == [
        repr(value) for value in read_figures
    ]
    assert read_blobs == blobs
