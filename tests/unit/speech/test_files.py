"""Names out of text from outside, and files that are whole, or not there."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.durable_files import OverwritePolicy
from receiver.engine.context import Artifact
from receiver.errors import AudioError
from receiver.speech.errors import SpeechError
from receiver.speech.files import file_stem, is_copy, numbered_path, relative_output, require_writable, save_artifact


def artifact(pieces: list[bytes], *, broken: bool = False, sha256: str | None = None) -> Artifact:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        if broken:
            raise AudioError("The disk went away.")

    whole = b"".join(pieces)
    return Artifact(
        n=0, address="/store/x.wav", path=None, bytes=len(whole), sha256=sha256 or hashlib.sha256(whole).hexdigest(),
        content_type="audio/wav", format="wav", duration=1.0, sample_rate=8000, channels=1, _stream=stream,
    )  # fmt: skip


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_id_becomes_a_plain_name_of_its_own(one: str, other: str) -> None:
    for id in (one, other):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}", file_stem(id))
    assert (file_stem(one) == file_stem(other)) == (one == other)


def test_a_plain_id_is_its_own_name() -> None:
    assert file_stem("Intro-01.take_2") == "Intro-01.take_2"
    assert file_stem("../../etc/passwd").startswith("etc-passwd~")
    assert file_stem("ends with a dot.") != "ends with a dot."


@given(st.text(max_size=60))
def test_an_output_is_within_its_folder_or_refused(output: str) -> None:
    try:
        name = relative_output(output)
    except ValueError:
        return
    path = PurePosixPath(name)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert Path("/folder", name).resolve().is_relative_to("/folder")


@pytest.mark.parametrize(
    "output", ["", "/x", "../x", "a/../../x", "a//b", ".hidden", "a/.b", "x\0", "x\n", "a\\b", " a", "a/", "x" * 300]
)
def test_an_output_that_could_leave_its_folder_is_refused(output: str) -> None:
    with pytest.raises(ValueError, match="output"):
        relative_output(output)


def test_further_files_of_a_job_have_their_number() -> None:
    assert [str(numbered_path(Path("x/a.b.wav"), n)) for n in range(3)] == ["x/a.b.wav", "x/a.b~1.wav", "x/a.b~2.wav"]


def test_a_file_is_saved_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    asyncio.run(save_artifact(artifact([b"abc", b"def"]), target, OverwritePolicy.REFUSE))
    assert target.read_bytes() == b"abcdef"
    assert is_copy(artifact([b"abcdef"]), target)
    assert not is_copy(artifact([b"abcdeg"]), target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_what_breaks_on_the_way_leaves_nothing_and_the_old_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    target.write_bytes(b"old")
    with pytest.raises(AudioError):
        asyncio.run(save_artifact(artifact([b"abc"], broken=True), target, OverwritePolicy.REPLACE))
    with pytest.raises(SpeechError, match="was changed"):
        asyncio.run(save_artifact(artifact([b"abc"], sha256="0" * 64), target, OverwritePolicy.REPLACE))
    with pytest.raises(SpeechError, match="already exists"):
        asyncio.run(save_artifact(artifact([b"abc"]), target, OverwritePolicy.REFUSE))
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    asyncio.run(save_artifact(artifact([b"abc"]), target, OverwritePolicy.REPLACE))
    assert target.read_bytes() == b"abc"


def test_a_folder_that_went_away_is_told_with_where_the_audio_is(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=r"cannot be written.*store, at /store/x\.wav"):
        asyncio.run(save_artifact(artifact([b"abc"]), tmp_path / "no" / "a.wav", OverwritePolicy.REFUSE))


def test_a_place_is_looked_at_before_anything_is_sent(tmp_path: Path) -> None:
    there = tmp_path / "a.wav"
    require_writable(there, OverwritePolicy.REFUSE)
    there.touch()
    require_writable(there, OverwritePolicy.REPLACE)
    with pytest.raises(SpeechError, match="--force"):
        require_writable(there, OverwritePolicy.REFUSE)
    with pytest.raises(SpeechError, match="is a folder"):
        require_writable(tmp_path, OverwritePolicy.REPLACE)
    with pytest.raises(SpeechError, match="create it first"):
        require_writable(tmp_path / "no" / "a.wav", OverwritePolicy.REFUSE)
    with pytest.raises(SpeechError, match="not a regular file"):
        require_writable(Path("/dev/null"), OverwritePolicy.REPLACE)
    dangling = tmp_path / "dangling.wav"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(SpeechError, match="already exists"):
        require_writable(dangling, OverwritePolicy.REFUSE)
