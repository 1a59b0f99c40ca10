"""The services of docs/reference/signatures.md: the configuration of each, and the command that verifies its vector."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "signatures.md").read_text()


class Service(NamedTuple):
    """A service of the page, by the heading of its section."""

    title: str
    toml: str
    command: str

    @property
    def line(self) -> list[str]:
        """All words of the command's line."""
        return shlex.split(self.command.replace("\\\n", " "))

    @property
    def words(self) -> list[str]:
        """The words after the command's name."""
        return self.line[self.line.index("tts-receiver") + 1 :]

    @property
    def source(self) -> str:
        """The name of its source."""
        return self.words[self.words.index("--source") + 1]

    @property
    def body(self) -> bytes:
        """The vector's body."""
        return self.line[2].encode()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The vector's header lines; the signature is in the last one."""
        pairs = [word.split(": ", 1) for flag, word in zip(self.words, self.words[1:], strict=False) if flag == "-H"]
        return [(name, value) for name, value in pairs]

    @property
    def secret(self) -> str:
        """The signing secret."""
        found = re.search(r'signing_secrets = \["(.*?)"\]', self.toml)
        assert found is not None
        return found[1]


SERVICES = [
    Service(*found)
    for found in re.findall(
        r"^### ([^\n]+)\n\n(?:[^\n`#]+\n\n)?```toml\n(.*?)```\n\n```sh\n(.*?)```$", PAGE, re.MULTILINE | re.DOTALL
    )
]


def rows(heading: str) -> list[list[str]]:
    """The cells of a section's table."""
    table = PAGE.partition(f"\n## {heading}\n")[2].partition("\n|---")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[1:]]
