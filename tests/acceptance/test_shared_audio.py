"""Two workers on one store in PostgreSQL, each with an audio folder of its own: the second one, and `check`, say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.support import Site
from tests.postgresql_server import PostgresqlServer


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


def test_a_worker_with_another_audio_folder_is_named(site: Site, address: str, tmp_path: Path) -> None:
    site.configure(f'[store]\nurl = "{address}"')
    own = {"TTS_RECEIVER_AUDIO__URL": str(tmp_path / "own")}
    first = site.start("--only", "worker")
    other = site.start("--only", "worker", **own)
    other.wait_for("audio.not_shared")
    elsewhere = site.command("check", **own)
    assert elsewhere.returncode == 1
    assert f"audio.url: {tmp_path / 'own'} is not where the process" in elsewhere.stderr
    assert other.stop() == first.stop() == 0
    assert len(list(other.lines("audio.not_shared"))) == 1
    assert list(first.lines("audio.not_shared")) == []
    assert list((tmp_path / "own" / ".spool").iterdir()) == []
