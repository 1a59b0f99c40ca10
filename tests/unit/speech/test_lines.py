"""Reading a batch: each form's lines, what is wrong with them, and nothing unbounded, whatever the bytes are."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.providers import PROVIDERS
from receiver.providers.types import Account, Speech
from receiver.speech.errors import SpeechError
from receiver.speech.input_format import InputFormat
from receiver.speech.lines import (
    BatchLine,
    InvalidLine,
    SpeechDefaults,
    digest_of,
    format_of,
    read_lines,
)
from receiver.speech.rows import FIELDS, MAX_LINE_BYTES, MAX_LINES

ACCOUNT = Account("https://tts.example.com", "a-key")
FORMATS = PROVIDERS["aitts"].capabilities.formats
VOICE = SpeechDefaults(voice="alloy")


def check(speech: Speech) -> None:
    PROVIDERS["aitts"].submit_request(ACCOUNT, speech, "a-submit-key")


def read(
    data: bytes, form: InputFormat = InputFormat.TEXT, defaults: SpeechDefaults = VOICE
) -> list[BatchLine | InvalidLine]:
    return list(read_lines(io.BytesIO(data), form, "aitts", defaults, FORMATS, check))


def good(data: bytes, form: InputFormat = InputFormat.TEXT, defaults: SpeechDefaults = VOICE) -> list[BatchLine]:
    found = read(data, form, defaults)
    assert not [str(line) for line in found if isinstance(line, InvalidLine)]
    return [line for line in found if isinstance(line, BatchLine)]


def bad(data: bytes, form: InputFormat = InputFormat.TEXT, defaults: SpeechDefaults = VOICE) -> str:
    return "\n".join(str(line) for line in read(data, form, defaults) if isinstance(line, InvalidLine))


def test_a_text_a_line_is_numbered_as_in_the_file_and_blank_ones_are_left_out() -> None:
    found = good(b"\xef\xbb\xbfOne.\r\n\n   \n  Two, \xc3\xa4. \nThree")
    assert [(line.number, line.speech.text, line.name) for line in found] == [
        (1, "One.", "0001"),
        (4, "Two, ä.", "0004"),
        (5, "Three", "0005"),
    ]


def test_json_lines_say_what_the_options_do_not() -> None:
    row = {"text": "Hi", "voice": "emma", "format": "mp3", "bitrate": 64, "speed": 1, "metadata": {"n": 1}, "id": 7}
    defaults = SpeechDefaults(voice="alloy", format="wav", sample_rate=24000, metadata={"from": "options"})
    first, second = good(json.dumps(row).encode() + b'\n{"text": "Ho"}', InputFormat.JSONL, defaults)
    assert first.speech == Speech(
        text="Hi", voice="emma", format="mp3", sample_rate=24000, bitrate_kbps=64, speed=1.0, metadata={"n": 1}
    )
    assert (first.id, first.name) == ("7", "7")
    assert second.speech.voice == "alloy"
    assert second.speech.metadata == {"from": "options"}


@pytest.mark.parametrize("form", [InputFormat.JSONL, InputFormat.CSV])
def test_every_field_is_taken_by_its_name(form: InputFormat) -> None:
    row: dict[str, Any] = dict.fromkeys(FIELDS, "x") | {"format": "mp3", "sample_rate": 24000, "speed": 1.5, "id": "i"}
    row |= {"bitrate": 64, "metadata": {"a": 1}, "output": "o.mp3", "model": "standard", "voice": "alloy"}
    row |= {"options": {"seed": 7, "style": "calm"}}
    del row["bitrate_kbps"]
    cells = (json.dumps(value) if isinstance(value, dict) else str(value) for value in row.values())
    table = io.StringIO()
    csv.writer(table).writerows([row, cells])
    data = json.dumps(row) if form is InputFormat.JSONL else table.getvalue()
    [line] = good(data.encode(), form)
    wanted = {"format": "mp3", "sample_rate": 24000, "bitrate_kbps": 64, "speed": 1.5, "model": "standard"}
    wanted |= {"metadata": {"a": 1}, "options": {"seed": 7, "style": "calm"}}
    assert line.speech == Speech(text="x", voice="alloy", **wanted)
    assert (line.id, line.name) == ("i", "o.mp3")


def test_each_option_of_the_command_is_for_lines_that_do_not_set_it() -> None:
    defaults = SpeechDefaults(voice="alloy", options={"seed": 1, "style": "calm"})
    rows = b'{"text": "a", "options": {"seed": 2}}\n{"text": "b", "options": {}}\n{"text": "c"}\n'
    found = [line.speech.options for line in good(rows, InputFormat.JSONL, defaults)]
    assert found == [{"seed": 2, "style": "calm"}, {"seed": 1, "style": "calm"}, {"seed": 1, "style": "calm"}]
    assert good(b'{"text": "a", "options": {}}', InputFormat.JSONL)[0].speech.options is None


def test_csv_rows_are_numbered_by_their_first_line_and_empty_cells_are_left_to_the_options() -> None:
    table = b'Text , voice,sample_rate,metadata\n"Two\nlines, ""quoted""",emma,24000,"{""a"": 1}"\n\nShort row\n'
    first, second = good(table, InputFormat.CSV)
    assert (first.number, first.speech.text, first.speech.sample_rate) == (2, 'Two\nlines, "quoted"', 24000)
    assert first.speech.metadata == {"a": 1}
    assert (second.number, second.speech.voice) == (5, "alloy")


def test_a_format_follows_from_the_output_where_the_service_has_it() -> None:
    found = good(b'{"text":"a","output":"x/a.ogg"}\n{"text":"b","output":"b.flac"}\n', InputFormat.JSONL)
    assert [(line.speech.format, line.name, line.has_extension) for line in found] == [
        ("ogg_opus", "x/a.ogg", True),
        (None, "b.flac", True),
    ]
    assert format_of("A.MP3", FORMATS) == "mp3"
    assert format_of("noextension", FORMATS) is None


@pytest.mark.parametrize(
    ("data", "form", "why"),
    [
        (b'{"text": "a"', InputFormat.JSONL, "not JSON"),
        (b"[1]", InputFormat.JSONL, "not an object"),
        (b'{"voice": "alloy"}', InputFormat.JSONL, "no text"),
        (b'{"text": 1}', InputFormat.JSONL, "text: "),
        (b'{"text": "a", "speed": "fast"}', InputFormat.JSONL, "speed: "),
        (b'{"text": "a", "speed": NaN}', InputFormat.JSONL, "not JSON"),
        (b'{"text": "a", "sample_rate": true}', InputFormat.JSONL, "sample_rate: "),
        (b'{"text": "a", "fromat": "mp3"}', InputFormat.JSONL, "did you mean 'format'?"),
        (b'{"text": "a", "format": "flac"}', InputFormat.JSONL, "no format 'flac'"),
        (b'{"text": "  "}', InputFormat.JSONL, "text is empty"),
        (b'{"text": "\\ud800"}', InputFormat.JSONL, "JSON"),
        (b'{"text": "a", "output": "/etc/passwd"}', InputFormat.JSONL, "output"),
        (b'{"text": "a", "id": "' + b"x" * 300 + b'"}', InputFormat.JSONL, "its id is longer"),
        (b"caf\xe9\n", InputFormat.TEXT, "not UTF-8"),
        (b"x" * (MAX_LINE_BYTES + 1), InputFormat.TEXT, "longer than"),
        (b"text\ncaf\xe9\n", InputFormat.CSV, "not UTF-8"),
        (b"text,voice\na,b,c\n", InputFormat.CSV, "3 cells"),
        (b"text,sample_rate\na,many\n", InputFormat.CSV, "sample_rate: "),
        (b"text,metadata\na,many\n", InputFormat.CSV, "metadata: it is not a JSON object"),
        (b"voice,text\nalloy,\n", InputFormat.CSV, "no text"),
        (b'{"text": "a", "options": "fast"}', InputFormat.JSONL, "options: "),
        (
            b'{"text": "a", "options": {"output_format": "mp3"}}',
            InputFormat.JSONL,
            "'output_format' cannot be an option",
        ),
        (b"text,options\na,fast\n", InputFormat.CSV, "options: it is not a JSON object"),
    ],
)
def test_a_line_that_cannot_be_used_says_why_and_the_next_one_is_read(data: bytes, form: InputFormat, why: str) -> None:
    assert why in bad(data, form)
    if form is not InputFormat.CSV:
        after = data.rstrip(b"\n") + b'\n{"text": "next"}'
        assert isinstance(read(after, form)[-1], BatchLine)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"voice\nalloy\n", "it has no column `text`"),
        (b"text,voize\n", "did you mean 'voice'?"),
        (b"text,text\n", "the same name"),
        (b'text\n"never closed\n', "cannot be read"),
        (b'text\n"' + b"never closed, line after line\n" * 10_000, "quotation mark"),
        (b"text\n" + b"x" * (MAX_LINE_BYTES + 1), "longer than"),
    ],
)
def test_a_table_that_cannot_be_read_on_is_refused_as_a_whole(data: bytes, why: str) -> None:
    with pytest.raises(SpeechError, match=why):
        read(data, InputFormat.CSV)


def test_without_a_voice_a_line_is_none() -> None:
    assert (
        bad(b"Hello", defaults=SpeechDefaults())
        == "line 1: no voice: name one in the line, or for all lines with --voice"
    )


def test_there_are_only_so_many_lines() -> None:
    with pytest.raises(SpeechError, match="more than 100000 lines"):
        read(b"\n" * (MAX_LINES + 1))


def test_another_speech_has_another_digest_and_the_same_one_the_same() -> None:
    one = Speech(text="a", voice="b", metadata={"x": 1, "y": 2})
    same = Speech(text="a", voice="b", metadata={"y": 2, "x": 1})
    assert digest_of("s", one) == digest_of("s", same)
    others = [
        Speech(text="a", voice="c"),
        *(replace(one, options=given) for given in ({"s": 1}, {"s": 2}, {"s": True})),
    ]
    assert len({digest_of("s", one), digest_of("t", one), *(digest_of("s", other) for other in others)}) == 6
    assert digest_of("s", replace(one, options={})) == digest_of("s", one)


@given(st.binary(max_size=300), st.sampled_from(list(InputFormat)))
def test_whatever_the_bytes_are_it_is_read_or_refused_and_stays_in_its_folder(data: bytes, form: InputFormat) -> None:
    try:
        found = read(data, form)
    except SpeechError:
        return
    for line in found:
        if isinstance(line, BatchLine):
            assert line.speech.text.strip()
            assert not {"..", "", "/"} & set(PurePosixPath(line.name).parts)


SAFE = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\x85"), min_size=1, max_size=40)
ROWS = st.lists(
    st.fixed_dictionaries({"text": SAFE}, optional={"voice": SAFE, "id": SAFE, "speed": st.floats(0.5, 2)}), max_size=6
)


@given(ROWS)
def test_the_three_forms_say_the_same(rows: list[dict[str, Any]]) -> None:
    from_json = good("".join(json.dumps(row) + "\n" for row in rows).encode(), InputFormat.JSONL)
    assert [line.speech.text for line in from_json] == [row["text"] for row in rows]
    table = io.StringIO()
    writer = csv.DictWriter(table, ["text", "voice", "id", "speed"])
    writer.writeheader()
    writer.writerows(rows)
    from_csv = good(table.getvalue().encode(), InputFormat.CSV)
    assert [(line.speech, line.id) for line in from_csv] == [(line.speech, line.id) for line in from_json]
    plain = good("\n".join(row["text"] for row in rows).encode())
    assert [line.speech.text for line in plain] == [row["text"] for row in rows]
