"""The parts of `listen` that need no receiver: reading a stream, what may be missing, what is kept, what is printed."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.cli.listen.errors import ListenError, NotAStream
from receiver.cli.listen.gap import KEPT_SECONDS, Found, gap, is_event, position_at
from receiver.cli.listen.lines import answer_line, detail_lines, retry_lines
from receiver.cli.listen.state import Progress, kept_secret, open_state, state_folder
from receiver.cli.listen.stream import MAX_MESSAGE_BYTES, StreamComment, StreamEvent, StreamPosition, StreamReader
from receiver.cli.listen.target import Answer
from receiver.model.ids import event_id, first_id_at

NOW = 1_800_000_000.0
ID = event_id(NOW - 60, 1 << 70)
REMOTE, FORWARD = "http://127.0.0.1:8081", "http://localhost:3000/hook"


# the stream


def summary(id: str = ID, **more: object) -> bytes:
    values = {"id": id, "source": "aitts", "type": "test", "job_id": None, "state": "open"}
    values |= {"received_at": "2027-01-15T08:00:00Z"} | more
    return f"id: {id}\nevent: test\ndata: {json.dumps(values)}\n\n".encode()


STREAM = (
    b": the new events, as they are committed\n: position evt_%b 2027-01-15T08:00:00+00:00\n\n" % (b"0" * 32)
    + summary(type="tést", job_id="j\n1")
    + f": position {ID} 2027-01-15T08:00:15.5+00:00\n: nothing new\n\n".encode()
    + f": position {ID} 2027-01-15T08:00:30+00:00\n\n: something else\n\n".encode()
)
MESSAGES = [
    StreamPosition("evt_" + "0" * 32, NOW, caught_up=False),
    StreamEvent(ID, "aitts", "tést", "j\n1", "open", NOW),
    StreamPosition(ID, NOW + 15.5, caught_up=True),
    StreamPosition(ID, NOW + 30, caught_up=False),
    StreamComment(),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_a_stream_is_read_however_it_is_cut(cuts: list[int]) -> None:
    reader = StreamReader()
    ends = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[begin:end] for begin, end in pairwise(ends)]
    assert [message for chunk in chunks for message in reader.feed(chunk)] == MESSAGES


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: b"data: " + text.encode() + b"\n\n"))
def test_what_is_no_stream_is_one_error(data: bytes) -> None:
    try:
        list(StreamReader().feed(data))
    except NotAStream:
        return


@pytest.mark.parametrize(
    "message",
    [
        summary(id="evt_1"), summary(id="../" + ID), summary(state=3), summary(received_at="yesterday"),
        summary(received_at="2027-01-15T08:00:00"), b"data: []\n\n", b"data: {}\n\n",
        b": position " + ID.encode() + b" soon\n\n", b"x" * (MAX_MESSAGE_BYTES + 1),
    ],
)  # fmt: skip
def test_an_event_that_cannot_be_one_is_refused(message: bytes) -> None:
    with pytest.raises(NotAStream):
        list(StreamReader().feed(message))


# what may be missing


def test_a_time_is_a_position_that_no_event_has() -> None:
    assert position_at(NOW).startswith(first_id_at(NOW))
    assert len(position_at(NOW)) == len(ID)
    assert not is_event(position_at(NOW))
    assert position_at(NOW - 61) < ID < position_at(NOW)
    assert position_at(-5.0) == "evt_" + "0" * 32


@given(st.floats(0, 2**40), st.integers(0, 2**80))
def test_no_event_is_taken_for_a_time(now: float, bits: int) -> None:
    assert is_event(event_id(now, bits))


def test_nothing_is_missing_if_all_was_handed_over_within_the_shortest_retention() -> None:
    old = event_id(NOW - 40 * 86_400, 1)
    assert gap(old, NOW - KEPT_SECONDS + 1, NOW, Found(None, has_older=False)) is None
    assert gap(position_at(NOW - 3600), NOW - 3600, NOW, Found(None, has_older=False)) is None


def test_nothing_is_missing_if_what_would_be_deleted_first_is_there() -> None:
    long_ago = NOW - 40 * 86_400
    old = event_id(long_ago, 1)
    assert gap(old, long_ago, NOW, Found("done", has_older=False)) is None
    assert gap(old, long_ago, NOW, Found("dead", has_older=True)) is None
    assert gap(position_at(long_ago), long_ago, NOW, Found(None, has_older=True)) is None


@pytest.mark.parametrize("state", [None, "dead", "open", "quarantined"])
def test_otherwise_it_is_told_since_when_events_may_be_missing(state: str | None) -> None:
    long_ago = NOW - 40 * 86_400
    what = gap(event_id(long_ago, 1), long_ago, NOW, Found(state, has_older=False))
    assert what is not None
    assert "after 2026-12-06 08:00:00Z may be missing" in what


def test_a_young_event_that_is_unknown_is_told() -> None:
    what = gap(ID, NOW - 60, NOW, Found(None, has_older=True))
    assert what is not None
    assert f"does not know {ID}" in what


# what is kept


def test_a_position_is_kept_for_each_pair_and_only_for_this_user(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with open_state(folder, REMOTE, FORWARD) as state, open_state(folder, REMOTE, FORWARD + "2") as other:
        assert state.read() is None
        state.write(Progress(ID, NOW))
        assert state.read() == Progress(ID, NOW)
        assert other.read() is None
        with (
            pytest.raises(ListenError, match=f"Another listen hands events of {REMOTE} to {FORWARD}"),
            open_state(folder, REMOTE, FORWARD),
        ):
            pass
    with open_state(folder, REMOTE, FORWARD) as state:
        assert state.read() == Progress(ID, NOW)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o700}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"position": "evt_1", "complete_until": 1}', '{"position": 1}']
)
def test_a_damaged_position_is_an_error_that_says_what_to_do(tmp_path: Path, text: str) -> None:
    with open_state(tmp_path, REMOTE, FORWARD) as state:
        state.path.write_text(text)
        with pytest.raises(ListenError, match="With --reset it is replaced"):
            state.read()
        state.write(Progress(ID, NOW))
        assert state.read() == Progress(ID, NOW)


def test_the_secret_is_created_once(tmp_path: Path) -> None:
    secret = kept_secret(tmp_path / "new")
    assert secret.startswith("whsec_")
    assert kept_secret(tmp_path / "new") == secret
    assert (tmp_path / "new" / "secret").stat().st_mode & 0o777 == 0o600
    (tmp_path / "new" / "secret").write_text("two\nlines\n")
    with pytest.raises(ListenError, match="Delete it: a new one is created"):
        kept_secret(tmp_path / "new")


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ListenError, match="cannot be used"):
        kept_secret(tmp_path / "file" / "inside")
    with pytest.raises(ListenError, match="cannot be used"), open_state(tmp_path / "file" / "inside", "a", "b"):
        pass


def test_the_folder_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    end = Path("tts-receiver/listen")
    assert state_folder({}) == tmp_path / ".local/state" / end
    assert state_folder({"XDG_STATE_HOME": "relative"}) == tmp_path / ".local/state" / end
    assert state_folder({"XDG_STATE_HOME": "/var/x"}) == Path("/var/x") / end
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no home folder
    with pytest.raises(ListenError, match="XDG_STATE_HOME"):
        state_folder({})


# what is printed


def test_lines_are_of_80_columns_and_printable() -> None:
    event = StreamEvent(ID, "s" * 63, "a\x1b[31mtype\n" * 20, "j" * 200, "open", NOW)
    answer = Answer(500, 0.0042, "声" * 100 + "\x1b[31m " + "word " * 40)
    printed = [answer_line(event, NOW, answer, 3, "again in 0.5 s"), *detail_lines(answer)]
    assert all(len(line) + line.count("声") <= 80 for line in printed)
    assert "\x1b" not in "".join(printed)
    assert detail_lines(Answer(500, 0.0)) == []
    short = StreamEvent(ID, "aitts", "test", None, "open", NOW)
    assert answer_line(short, NOW, Answer(204, 0.0123), 1, "") == "✓ 08:00:00Z test aitts  204 in 12 ms"
    assert answer_line(short, NOW, Answer(None, 0.1), 2, "") == "! 08:00:00Z test aitts  no answer, attempt 2"
    assert answer_line(short, NOW, Answer(410, 0.1), 1, "").startswith("- ")
    assert any(ID in line for line in retry_lines(short))
