"""Names of audio files: any job id is safe, and no two meet."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.outbound.names import artifact_name, part_name

ANY = st.text(st.characters(), max_size=300) | st.text("ab.~/\\-_0Aß ", max_size=12)


def test_a_plain_job_id_is_the_name() -> None:
    assert artifact_name("aitts", "job_7f-3", 0, "wav") == "aitts/job_7f-3.wav"
    assert artifact_name("aitts", "job_7f-3", 2, "mp3") == "aitts/job_7f-3~2.mp3"


def test_any_other_job_id_becomes_a_stump_and_a_hash() -> None:
    name = artifact_name("aitts", "../../etc/Passwd", 0, "wav")
    assert name.startswith("aitts/etc-passwd~")
    assert len(name) == len("aitts/etc-passwd~") + 32 + len(".wav")


@given(source=ANY, job=ANY, n=st.integers(0, 9_999))
def test_a_name_stays_in_its_folder_and_is_short(source: str, job: str, n: int) -> None:
    name = artifact_name(source, job, n, "wav")
    assert len(name.encode("ascii")) <= 200
    assert os.path.normpath(name) == name
    folder, _, file = name.partition("/")
    assert folder
    assert "/" not in file
    assert not folder.startswith(".")
    assert not file.startswith(".")
    assert name == name.lower()
    assert name.isprintable()
    assert len(part_name(source, job, n)) <= 200
    assert "/" not in part_name(source, job, n)


@given(first=st.tuples(ANY, st.integers(0, 50)), second=st.tuples(ANY, st.integers(0, 50)))
def test_two_outputs_never_share_a_name_even_where_case_is_ignored(
    first: tuple[str, int], second: tuple[str, int]
) -> None:
    if first != second:
        assert artifact_name("s", *first, "wav").casefold() != artifact_name("s", *second, "wav").casefold()
        assert part_name("s", *first) != part_name("s", *second)


def test_a_job_that_is_called_like_another_s_file_does_not_take_it() -> None:
    taken = artifact_name("s", "A b", 0, "wav").removeprefix("s/").removesuffix(".wav")
    assert artifact_name("s", taken, 0, "wav") != f"s/{taken}.wav"
    assert artifact_name("s", "a~1", 0, "wav") != artifact_name("s", "a", 1, "wav")


@pytest.mark.parametrize(("n", "extension"), [(-1, "wav"), (10_000, "wav"), (0, "../x"), (0, ""), (0, "WAV")])
def test_what_is_not_ours_to_name_is_refused(n: int, extension: str) -> None:
    with pytest.raises(ValueError, match=r"is not a file|no output"):
        artifact_name("s", "j", n, extension)
