"""`--option KEY=VALUE` and `--idempotency-key` of `speech`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.cli.options import parse_options


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), ("-0.5", -0.5), ("1e3", 1000.0), ("true", True), ("null", None), ('"42"', "42"), ("[1, 2]", [1, 2]),
        ('{"a": {"b": 1}}', {"a": {"b": 1}}), (" 7 ", 7), ("calm", "calm"), ("True", "True"), ("007", "007"), ("", ""),
        ("1_000", "1_000"), ("NaN", "NaN"), ("-Infinity", "-Infinity"), ("1e999", "1e999"), ("a=b=c", "a=b=c"),
        ("en-US", "en-US"), ("1.2.3", "1.2.3"), ("#fff", "#fff"), ("ü", "ü"),
    ],
)  # fmt: skip
def test_a_value_is_json_if_it_can_be_read_so_and_a_text_otherwise(text: str, value: Any) -> None:
    found = parse_options([f"key={text}"])
    assert found == {"key": value}
    assert type(found["key"]) is type(value)


@pytest.mark.parametrize("text", ["{a: 1}", "[happy] Hello", '"open', " {", '{"a": NaN}', "[1e999]"])
def test_what_begins_as_json_and_is_not_is_no_text(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="the value of style is not JSON"):
        parse_options([f"style={text}"])


def test_without_options_there_are_none() -> None:
    assert parse_options(None) is parse_options([]) is None


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the configuration of a source that takes jobs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "receiver.toml").write_text('[sources.aitts]\nprovider = "aitts"\napi_key = "tts_0123456789"\n')
    return tmp_path


def speech(*arguments: str) -> Any:
    line = ["speech", *arguments, "--voice", "alloy", "--no-wait"]
    return CliRunner().invoke(build(), line, terminal_width=200)


def test_options_and_the_key_are_stored_with_the_job(here: Path) -> None:
    arguments = ["Hello", "--option", "seed=7", "--option", "style=calm", "--idempotency-key", "order-42"]
    first = speech(*arguments)
    again = speech(*arguments, "--json")
    assert first.exit_code == again.exit_code == 0, again.output
    assert json.loads(again.output)["id"] == first.output.strip()
    assert json.loads(again.output)["request"]["options"] == {"seed": 7, "style": "calm"}
    other = speech("Hello", "--option", "seed=8", "--idempotency-key", "order-42")
    assert other.exit_code == 1
    assert "This idempotency key belongs to another request" in str(other.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Hello", "--option", "seed"], "'seed' is not KEY=VALUE."),
        (["Hello", "--option", "a={b"], "'a=\"[happy] Hello\"'."),
        (["Hello", "--idempotency-key", ""], "up to 255 visible ASCII characters"),
        (["Hello", "--idempotency-key", "ü"], "up to 255 visible ASCII characters"),
        (["--job", "job_1", "--idempotency-key", "a"], "is for a single TEXT"),
        (["--file", "lines.txt", "--idempotency-key", "a"], "a batch has keys of its own"),
    ],
)
def test_a_mistake_is_told_with_what_is_right(here: Path, arguments: list[str], said: str) -> None:
    line = ["speech", *arguments, "--voice", "alloy"]
    answered = CliRunner().invoke(build(), line, terminal_width=200)
    assert answered.exit_code == 2, answered.output
    assert said in " ".join(answered.output.replace("│", " ").split())


def test_an_option_that_is_a_field_stores_nothing(here: Path) -> None:
    answered = speech("Hello", "--option", "voice_id=x")
    assert answered.exit_code == 1
    assert "'voice_id' cannot be an option" in str(answered.exception)
    assert not (here / "receiver.db").exists()
