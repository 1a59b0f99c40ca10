"""The profile `cluster` of compose.yaml: each service's command, started as a process, behind its own Caddyfile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.proxies import CADDY, WEBHOOK, Client
from tests.acceptance.support import API_KEY, SECRET, SOURCE, Provider, Server, Site, completed, signed_headers, until
from tests.postgresql_server import PostgresqlServer
from tests.stores import query

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
REPLICAS = {name: service for name, service in SERVICES.items() if service["image"].endswith("-postgresql")}


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


def start(site: Site, service: dict[str, Any], address: str) -> Server:
    """Start what a service of compose.yaml runs, with the environment of its image and its own."""
    image = dict(re.findall(r"(TTS_RECEIVER_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    environment = image | service["environment"]
    assert environment["TTS_RECEIVER_STORE__URL"].startswith("postgresql://receiver@postgres:")
    environment |= {"TTS_RECEIVER_STORE__URL": address, "TTS_RECEIVER_SECRETS_DIR": str(site.folder / "secrets")}
    # The containers have addresses of their own, and no others. The private listener's is loopback in each.
    environment |= {"TTS_RECEIVER_SERVER__PORT": "0", "TTS_RECEIVER_SERVER__PRIVATE_PORT": "0"}
    if "TTS_RECEIVER_SERVER__DRAIN_SECONDS" in environment:
        environment["TTS_RECEIVER_SERVER__DRAIN_SECONDS"] = "0.5"  # the health check of the proxy is not waited for
    has_volume = any(volume.endswith(":/data") for volume in service["volumes"])
    data = site.folder / "data" if has_volume else Path("/dev/null")
    environment = {name: value.replace("/data", str(data)) for name, value in environment.items()}
    program, *arguments = service["command"]
    assert program == "serve"
    return site.launch(*arguments, **environment | {"TTS_RECEIVER_CONFIG": str(site.config)})


def test_the_services_of_the_cluster_work_together(
    site: Site, provider: Provider, address: str, certificate: Path, tmp_path: Path
) -> None:
    assert sorted(REPLICAS) == ["intake-1", "intake-2", "worker-1", "worker-2"]
    CADDY.require()
    secrets = site.folder / "secrets"
    secrets.mkdir()
    (secrets / f"sources__{SOURCE}__api_key").write_text(API_KEY)
    (secrets / f"sources__{SOURCE}__signing_secrets").write_text(SECRET)
    site.config.write_text(
        f'logs.format = "json"\n{(ROOT / "examples" / "cluster" / "receiver.toml").read_text()}'
        f'base_url = "{provider.sim.base_url}"\nallow_private_addresses = true\n'
    )
    started = {name: start(site, service, address) for name, service in REPLICAS.items()}
    for server in started.values():
        server.wait_until_listening()

    proxy = (ROOT / "examples" / "cluster" / "Caddyfile").read_text()
    for name in ("intake-1", "intake-2"):
        assert f"{name}:8080" in proxy
        port = started[name].public.rpartition(":")[2]
        proxy = proxy.replace(f"{name}:8080", f"127.0.0.1:{port}")
    with (
        CADDY.running(proxy, "", tmp_path / "proxy", certificate) as tls,
        closing(Client(tls, certificate)) as client,
    ):

        def send(job: str) -> int:
            body = completed(job)
            status, answer = client.ask("POST", WEBHOOK, signed_headers(body), body)
            assert json.loads(answer)["event"]
            return status

        jobs = [provider.completed_job() for _ in range(4)]
        assert [send(job.id) for job in jobs[:2]] == [202, 202]
        assert client.ask("POST", "/livez", {}, b"")[0] == 404
        assert started["intake-1"].stop() == 0
        assert [send(job.id) for job in jobs[2:]] == [202, 202]

    done = "SELECT handler, count(*) AS runs FROM runs WHERE state = 'succeeded' GROUP BY handler ORDER BY handler"
    all_done = [{"handler": "log", "runs": 4}, {"handler": "save_audio", "runs": 4}]
    until("both handlers have run for all", lambda: query(address, done) == all_done)
    assert len(site.final_files()) == 4
    assert {started[name].stop() for name in ("worker-1", "worker-2", "intake-2")} == {0}


def test_a_proxy_starts_the_intakes_and_every_replica_waits_for_the_database() -> None:
    assert set(SERVICES["caddy"]["depends_on"]) == {"intake-1", "intake-2"}
    health = (ROOT / "examples" / "cluster" / "Caddyfile").read_text()
    for name, service in REPLICAS.items():
        drain = service["environment"].get("TTS_RECEIVER_SERVER__DRAIN_SECONDS")
        assert drain == ("5" if name.startswith("intake") else None)
        assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "health_interval 1s" in health, "several of these are within the drain_seconds"
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == {"receiver"}
