"""`verify` says what became of a signature, by its exit code as well."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.model.signature import SCHEMES

SECRET, OTHER = "tts_secret_of_one_source", "tts_secret_of_another_source"
BODY = b'{"event":"job.completed","data":{"job_id":"job_1"}}'
SCHEME = SCHEMES["tts"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "receiver.toml"
    file.write_text(
        f'[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["{SECRET}"]\n'
        f'[sources.second]\nprovider = "aitts"\nsigning_secrets = ["{OTHER}"]\nstale = "reject"\n'
    )
    return file


def header(body: bytes = BODY, ago: int = 0, secret: str = SECRET) -> str:
    [(name, value)] = SCHEME.sign(secret, body, int(time.time()) - ago, "")
    return f"{name}: {value}"


def verify(config: Path, body: bytes, *headers: str, source: str = "aitts") -> tuple[int, str]:
    lines = [word for line in headers for word in ("-H", line)]
    words = ["verify", "--source", source, "--config", str(config), *lines]
    answered = CliRunner().invoke(build(), words, input=body)
    return answered.exit_code, answered.output


def test_a_signature_that_holds_now_is_exit_0(config: Path) -> None:
    code, said = verify(config, BODY, header())
    assert code == 0
    assert said.startswith("✓ The signature is valid: made with key-")


@pytest.mark.parametrize(("ago", "words"), [(7200, "✗ It is too old"), (-7200, "✗ It is too new (compare the clocks)")])
@pytest.mark.parametrize(("source", "done"), [("aitts", "put in quarantine"), ("second", "rejected")])
def test_a_signature_outside_the_tolerance_holds_but_is_not_exit_0(
    config: Path, ago: int, words: str, source: str, done: str
) -> None:
    secret = SECRET if source == "aitts" else OTHER
    code, said = verify(config, BODY, header(ago=ago, secret=secret), source=source)
    assert code == 3
    assert "✓ The signature is valid" in said
    assert f"{words}: the tolerance is 300 s. A delivery with it would be {done} now." in said


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (json.dumps(json.loads(BODY)).encode(), "the same JSON written compact"),
        (json.dumps(json.loads(BODY), indent=2).encode() + b"\n", "the same JSON written compact"),
        (BODY + b"\n", "without its last line break"),
        (BODY + b"\r\n", "without its last line break"),
        (b"\xef\xbb\xbf" + BODY, "without the byte order mark"),
    ],
)
def test_a_body_that_was_changed_is_recognised(config: Path, body: bytes, words: str) -> None:
    code, said = verify(config, body, header())
    assert code == 1
    assert "✗ The signature is invalid (mismatch)" in said
    assert f"It is valid for the body {words}" in said or f"It is valid for {words}" in said


def test_a_delivery_for_another_source_is_recognised(config: Path) -> None:
    code, said = verify(config, BODY, header(secret=OTHER))
    assert code == 1
    assert "of the source second, whose deliveries belong to /webhooks/second." in said


def test_a_wrong_secret_is_not_explained_away(config: Path) -> None:
    code, said = verify(config, BODY, header(secret="no source has this"))
    assert code == 1
    assert f", over {len(BODY)} bytes of body." in said.partition("  Tried: key-")[2]
    assert "another secret, or a changed body" in said
    assert "It is valid" not in said


def test_white_space_in_a_pasted_header_and_hex_in_upper_case_do_not_matter(config: Path) -> None:
    name, _, value = header().partition(": ")
    t, _, hex = value.partition(",v1=")
    assert verify(config, BODY, f"  {name} :\t{t} ,\t v1={hex.upper()}  ")[0] == 0


def test_of_two_headers_the_one_that_holds_is_named(config: Path) -> None:
    code, said = verify(config, BODY, header(secret="another"), header())
    assert code == 1
    assert "(repeated_header)" in said
    assert "line 2 of 2 of x-tts-signature alone" in said


def test_milliseconds_are_recognised(config: Path) -> None:
    code, said = verify(config, BODY, header().replace(",v1", "000,v1"))
    assert code == 1
    assert "(malformed_header)" in said
    assert "with the time in seconds instead of milliseconds" in said


def test_a_value_without_its_name_is_wrong_usage(config: Path) -> None:
    code, said = verify(config, BODY, header().partition(": ")[2])
    assert code == 2
    assert "is not 'Name: value'" in said
