"""Secrets that redaction does not hide are warned of, and never shown."""

from __future__ import annotations

import pytest

from receiver.cli.setup import check
from receiver.settings import load
from receiver.settings.guessable import guessable_secrets
from tests.unit.settings.support import Write

RANDOM = "8f14e45fceea167a5a36dedd4bea2543"


def tables(name: str = "acme", api_key: str = RANDOM, store: str = "sqlite:///receiver.db") -> str:
    """A configuration with a source of this name and key."""
    return (
        f'[store]\nurl = "{store}"\n[sources.{name}]\nprovider = "aitts"\napi_key = "{api_key}"\n'
        f'signing_secrets = ["{RANDOM}"]\n[handlers.log]\n'
    )


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (tables(), []),
        (tables(store=f"postgresql://receiver:{RANDOM}@db/receiver"), []),
        (tables(api_key="acme"), ["sources.acme.api_key"]),
        (tables(name="acme_corporation", api_key="corporation"), ["sources.acme_corporation.api_key"]),
        (tables(api_key="k7!pQ2x"), ["sources.acme.api_key"]),
        (tables(store="postgresql://receiver:receiver@db/receiver"), ["store.url"]),
        (tables(store="postgresql://someone@db/productionspeech?password=productionspeech"), ["store.url"]),
        (tables(store="postgresql://some%2done:some%2Done@db:1/x"), ["store.url"]),
    ],
)
def test_a_secret_that_is_short_or_part_of_a_name_is_warned_of_by_its_key(
    write: Write, text: str, keys: list[str]
) -> None:
    found = guessable_secrets(load(write(text)))
    assert [problem.where for problem in found] == keys
    for problem in found:
        assert all(secret not in problem.what for secret in ("acme", "corporation", "k7!pQ2x", "productionspeech"))


def test_check_warns_of_it(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    check(write(tables(api_key="acme")))
    assert "! sources.acme.api_key: can be guessed: it has fewer than 8 characters" in capsys.readouterr().err
