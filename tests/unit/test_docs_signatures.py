"""The page of signatures: each vector passes `verify` with the settings beside it, and no change of it does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.errors import SignatureError
from receiver.model.signature import PRESETS
from receiver.model.signature_spec import SignatureSpec
from receiver.settings import Settings, load
from tests.signature_page import SERVICES, Service, rows


def used(service: Service, folder: Path) -> Settings:
    file = folder / "receiver.toml"
    file.write_text(service.toml)
    file.chmod(0o600)
    return load(file)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.title)
def test_the_vector_of_each_service_passes_verify_with_its_settings(service: Service, tmp_path: Path) -> None:
    settings = used(service, tmp_path)
    [source] = settings.sources.values()
    assert source.scheme is not None
    expected = 3 if source.scheme.spec.signs_time else 0  # the times are those of the vectors
    done = CliRunner().invoke(
        build(), [*service.words, "--config", str(tmp_path / "receiver.toml")], input=service.body
    )
    assert (done.exit_code, "✓ The signature is valid" in done.output, "✗ header" in done.output) == (
        expected, True, False,
    ), done.output  # fmt: skip


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.title)
def test_any_one_changed_byte_of_a_vector_is_refused(service: Service, tmp_path: Path) -> None:
    [source] = used(service, tmp_path).sources.values()
    scheme, keys = source.scheme, source.signing_keys()
    assert scheme is not None
    headers = [(name.lower().encode(), value.encode()) for name, value in service.headers]
    assert scheme.verify(headers, service.body, keys, 0).key_id
    for at in range(len(service.body)):
        changed = bytes([*service.body[:at], service.body[at] ^ 1, *service.body[at + 1 :]])
        with pytest.raises(SignatureError):
            scheme.verify(headers, changed, keys, 0)
    for index, (name, value) in enumerate(headers):
        for at in range(len(value)):
            other = bytes([*value[:at], value[at] ^ 1, *value[at + 1 :]])
            with pytest.raises(SignatureError):
                scheme.verify([*headers[:index], (name, other), *headers[index + 1 :]], service.body, keys, 0)


def test_the_table_says_what_the_settings_below_it_say(tmp_path: Path) -> None:
    table = {re.findall(r"\[(.+?)\]", row[0])[0]: row for row in rows("Services")}
    assert list(table) == [service.title for service in SERVICES]
    assert len(table) >= 10
    for service in SERVICES:
        [source] = used(service, tmp_path).sources.values()
        assert source.scheme is not None
        spec = source.scheme.spec
        said = [cell.strip("`") for cell in table[service.title][1:5]]
        assert said == [spec.header, spec.signed_content, spec.encoding, "signed" if spec.signs_time else "none"]
        assert table[service.title][5] in ("published", "openssl")
        assert re.search(r"\(https://[^ )]+\)$", table[service.title][6])


def test_the_presets_of_the_table_are_those_of_the_code() -> None:
    found = {}
    for name, header, content, others in rows("Presets"):
        keys = dict(re.findall(r'`(\w+) = "(.*?)"`', others))
        if "as `standard-webhooks`" in others:
            base = dict(
                re.findall(r'`(\w+) = "(.*?)"`', next(row for row in rows("Presets") if "standard" in row[0])[3])
            )
            keys = base | keys
        found[name.strip("`")] = SignatureSpec(header=header.strip("`"), signed_content=content.strip("`"), **keys)
    assert found == PRESETS
