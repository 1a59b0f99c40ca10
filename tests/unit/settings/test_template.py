"""The file that `init` writes: it can be used once the secret is in, and so can all that is commented out in it."""

from __future__ import annotations

import re
from pathlib import Path

from receiver.cli.setup import TEMPLATE
from receiver.settings import load
from tests.unit.settings.support import SECRET, Write, problems

FILLED = TEMPLATE.replace("signing_secrets = []", f'signing_secrets = ["{SECRET}"]')


def uncommented(text: str) -> str:
    """The tables and keys that are commented out as well."""
    return re.sub(r"^# (?=\[[a-z]|[a-z_]+ = )", "", text, flags=re.MULTILINE)


def test_the_template_lacks_the_secret_and_nothing_else(write: Write) -> None:
    assert set(problems(write(TEMPLATE))) == {"sources.aitts.signing_secrets"}
    assert set(load(write(FILLED)).sources) == {"aitts"}


def test_what_is_commented_out_can_be_used_as_it_stands(write: Write, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "aitts").write_text("another-secret-0123456789\n")
    (tmp_path / "secrets" / "aitts").chmod(0o600)
    text = uncommented(FILLED).replace("make one with: openssl rand -hex 32", "a" * 64)
    assert uncommented(FILLED).count("\n[") > FILLED.count("\n[")
    settings = load(write(text))
    assert set(settings.sources) == {"aitts", "audixa", "finevoice", "miragic", "other"}
    assert len(settings.sources["aitts"].signing_keys()) == 2


def test_what_is_commented_out_is_the_default(write: Write) -> None:
    commented = load(write(FILLED))
    given = re.sub(r"^# (signing_secrets_file|directory|tokens) = .*$", "", FILLED, flags=re.MULTILINE)
    used = load(write(uncommented(given)))
    for table in ("server", "store", "audio", "dispatch", "logs"):
        assert getattr(used, table) == getattr(commented, table)
    assert used.sources["aitts"].schedule == commented.sources["aitts"].schedule
