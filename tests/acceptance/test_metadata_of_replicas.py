"""Replicas with different `search.metadata` on an empty store: a list by a key is complete, or an error."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.support import Server, Site, completed, deliver, get
from tests.postgresql_server import PostgresqlServer
from tests.stores import postgresql_address

KEYS = '[search]\nmetadata = ["customer"]'


def customers(server: Server) -> tuple[int, list[str]]:
    status, text = get(f"{server.private}/v1/events?metadata=customer=acme")
    document = json.loads(text)
    return status, [item["job_id"] for item in document["items"]] if status == 200 else [document["detail"]]


def require_complete_lists(site: Site, store: str) -> None:
    site.configure(store)
    without = site.start()
    site.configure(f"{store}\n{KEYS}")
    server = site.start()
    deliver(without.public, completed("one", metadata={"customer": "acme"}))
    deliver(server.public, completed("two", metadata={"customer": "acme"}))
    status, (detail,) = customers(server)
    assert status == 422
    assert "`tts-receiver db index-metadata` does that" in detail
    refused = site.command("db", "index-metadata")
    assert refused.returncode == 1
    assert "started without 'customer' in search.metadata" in refused.stderr

    without.stop()
    other = site.start()
    assert site.command("db", "index-metadata").returncode == 0
    deliver(other.public, completed("three", metadata={"customer": "acme"}))
    assert customers(server) == customers(other) == (200, ["three", "two", "one"])

    site.configure(store)
    site.start()
    assert customers(server)[0] == 422


@pytest.mark.sqlite
def test_processes_that_share_a_file(site: Site) -> None:
    require_complete_lists(site, "")


def test_replicas(site: Site, postgresql: PostgresqlServer) -> None:
    with postgresql_address(postgresql) as address:
        require_complete_lists(site, f'[store]\nurl = "{address}"')
        site.close()
