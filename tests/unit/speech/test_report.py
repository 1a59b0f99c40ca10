"""The report: what was written is found again, also after the process that wrote it was killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.durable_files import OverwritePolicy
from receiver.providers.types import Speech
from receiver.speech.errors import SpeechError
from receiver.speech.lines import BatchLine, InvalidLine, digest_of
from receiver.speech.preflight import run_preflight
from receiver.speech.report import BatchReport, LineResult


def record(line: int, **more: Any) -> LineResult:
    return LineResult(**({"line": line, "speech": "abc", "state": "completed"} | more))


def line(number: int, text: str = "Hello.", name: str | None = None) -> BatchLine:
    speech = Speech(text=text, voice="alloy")
    name = name or f"{number:04d}"
    return BatchLine(number, None, name, "." in name, speech, digest_of("aitts", speech))


def test_what_is_written_is_found_again_and_the_last_word_on_a_line_counts(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.jsonl"
    report = BatchReport.create(path, "aitts", "batch-1")
    failed = record(2, state="failed", job="job_2", job_id="x", error="No.", code="PROVIDER_WORD", id="ä")
    saved = record(2, generation=2, files=({"path": "0002.wav", "sha256": "00", "bytes": 1},))
    report.append(failed)
    report.append(record(3, state="unknown"))
    report.append(saved)
    report.close()
    first, *rest = [json.loads(text) for text in path.read_text().splitlines()]
    assert first["batch"] == "batch-1"
    assert (rest[0]["error"], rest[0]["id"], rest[2]["path"]) == ("No.", "ä", "0002.wav")
    again = BatchReport.open(path, "aitts")
    assert again.batch == "batch-1"
    assert again.last[2] == saved
    assert again.last[2].saved
    assert again.last[3].state == "unknown"
    again.close()


def test_a_torn_last_line_is_as_if_it_had_not_been_written(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    report = BatchReport.create(path, "aitts", "b")
    report.append(record(1))
    report.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"line": 2, "sta')
    again = BatchReport.open(path, "aitts")
    assert sorted(again.last) == [1]
    again.append(record(2))
    again.close()
    assert len(path.read_text().splitlines()) == 3
    assert sorted(BatchReport.open(path, "aitts").last) == [1, 2]


def test_a_report_has_one_owner_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    report = BatchReport.create(path, "aitts", "b")
    with pytest.raises(SpeechError, match="already running"):
        BatchReport.open(path, "aitts")
    with pytest.raises(SpeechError, match="already running"):
        BatchReport.create(path, "aitts", "another")
    report.close()
    BatchReport.open(path, "aitts").close()
    assert [item.name for item in tmp_path.iterdir()] == ["report.jsonl"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not the report of a batch"),
        ("a shopping list\n", "not the report of a batch"),
        ('{"batch": 1, "version": 1, "source": "aitts"}\n', "not the report of a batch"),
        ('{"batch": "b", "version": 99, "source": "aitts"}\n', "not the report of a batch"),
        ('{"batch": "b", "version": 1, "source": "audixa"}\n', "for the source audixa"),
        ('{"batch": "b", "version": 1, "source": "aitts"}\n{"line": "x"}\n', "Line 2 of the report"),
        ('{"batch": "b", "version": 1, "source": "aitts"}\n' + "x" * (2 << 20), "Line 2 of the report"),
        ('{"batch": "../b", "version": 1, "source": "aitts"}\n', "not the report of a batch"),
    ],
)
def test_what_is_no_report_of_this_batch_is_left_as_it_is(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "report.jsonl"
    path.write_text(text)
    with pytest.raises(SpeechError, match=why):
        BatchReport.open(path, "aitts")
    assert path.read_text() == text


@given(st.binary(max_size=200))
def test_whatever_stands_in_a_report_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("report") / "report.jsonl"
    path.write_bytes(b'{"batch": "b", "version": 1, "source": "aitts"}\n' + data)
    try:
        report = BatchReport.open(path, "aitts")
    except SpeechError:
        return
    report.close()
    assert path.read_bytes().endswith(b"\n")


# the preflight


def test_lines_that_would_be_one_file_are_refused_also_where_letter_case_does_not_matter(tmp_path: Path) -> None:
    lines = [line(1, name="Intro"), line(2, name="intro"), line(3, name="INTRO.wav"), line(4, name="b.wav"), line(5)]
    found = run_preflight(iter(lines), None, tmp_path, OverwritePolicy.REFUSE)
    assert [bad.number for bad in found.invalid] == [2, 3]
    assert found.total == 3


def test_a_new_batch_does_not_touch_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "0001.mp3").touch()
    (tmp_path / "0002.txt").touch()
    (tmp_path / "x.wav").touch()
    lines = [line(1), line(2), line(3, name="x.wav")]
    assert run_preflight(iter(lines), None, tmp_path, OverwritePolicy.REFUSE).invalid_numbers == {1, 3}
    assert run_preflight(iter(lines), None, tmp_path, OverwritePolicy.REPLACE).invalid_numbers == set()
    assert (
        run_preflight(iter(lines), {}, tmp_path, OverwritePolicy.REFUSE).invalid_numbers == set()
    )  # begun before: they may be its own


def test_what_is_done_changed_or_gone_is_known_from_the_report(tmp_path: Path) -> None:
    (tmp_path / "0001.wav").touch()
    lines: list[BatchLine | InvalidLine] = [
        line(1),
        line(2),
        line(3, "Another."),
        line(4, "Mended."),
        InvalidLine(5, "no"),
    ]
    files = ({"path": "0001.wav"},)
    last = {
        1: record(1, speech=line(1).digest, files=files),
        2: record(2, speech=line(2).digest, files=({"path": "0002.wav"},)),
        3: record(3, files=files),
        4: record(4, state="failed"),
        9: record(9, files=files),
    }
    found = run_preflight(iter(lines), last, tmp_path, OverwritePolicy.REFUSE)
    assert (found.total, found.done, found.changed, found.removed, found.invalid_numbers) == (3, 1, [3], [9], {5})


def test_only_so_many_bad_lines_are_kept_in_words(tmp_path: Path) -> None:
    found = run_preflight(
        (InvalidLine(number, "no") for number in range(1, 501)), None, tmp_path, OverwritePolicy.REFUSE
    )
    assert (len(found.invalid), len(found.invalid_numbers)) == (100, 500)
