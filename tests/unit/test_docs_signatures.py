"""The page of signatures: each vector passes `verify` with the settings beside it, and no change of it does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.errors import SignatureError
from receiver.model.signature import PRESETS
from receiver.model.signature_spec import SignatureSpec
from receiver.settings import Settings, load

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "signatures.md").read_text()


class Service(NamedTuple):
    """A service of the page: the configuration, and the command that verifies its vector."""

    title: str
    toml: str
    command: str

    @property
    def body(self) -> bytes:
        return self.line[2].encode()

    @property
    def line(self) -> list[str]:
        """All words of the command's line."""
        return shlex.split(self.command.replace("\\\n", " "))

    @property
    def words(self) -> list[str]:
        """The words after the command's name."""
        return self.line[self.line.index("tts-receiver") + 1 :]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        pairs = [word.split(": ", 1) for flag, word in zip(self.words, self.words[1:], strict=False) if flag == "-H"]
        return [(name.lower().encode(), value.encode()) for name, value in pairs]


SERVICES = [
    Service(*found)
    for found in re.findall(r"^### ([^\n]+)\n\n```toml\n(.*?)```\n\n```sh\n(.*?)```$", PAGE, re.MULTILINE | re.DOTALL)
]


def rows(heading: str) -> list[list[str]]:
    """The rows of a section's table."""
    table = PAGE.partition(f"\n## {heading}\n")[2].partition("\n|---")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[1:]]


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
    assert scheme.verify(service.headers, service.body, keys, 0).key_id
    for at in range(len(service.body)):
        changed = bytes([*service.body[:at], service.body[at] ^ 1, *service.body[at + 1 :]])
        with pytest.raises(SignatureError):
            scheme.verify(service.headers, changed, keys, 0)
    for index, (name, value) in enumerate(service.headers):
        for at in range(len(value)):
            other = bytes([*value[:at], value[at] ^ 1, *value[at + 1 :]])
            with pytest.raises(SignatureError):
                scheme.verify(
                    [*service.headers[:index], (name, other), *service.headers[index + 1 :]], service.body, keys, 0
                )


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
