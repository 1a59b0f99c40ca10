"""What was charged, and budgets: by commands and the API of real processes, with the simulated providers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from typing import Any

import pytest

from tests.acceptance.support import API_KEY, Provider, Site, get, until
from tests.acceptance.test_speech import QUICK, configured, texts, words
from tests.acceptance.wrong_provider import Stub, says
from tests.postgresql_server import PostgresqlServer

OVER_BUDGET = 3


def with_budget(site: Site, provider: Provider, source: str, budget: str) -> Site:
    """All four providers, one of them with a budget."""
    configured(site, provider)
    text = site.config.read_text()
    name = f"[sources.{source}]\n"
    site.config.write_text(text.replace(name, f"{name}budget = {{ {budget} }}\n"))
    return site


def post(url: str, document: dict[str, Any], key: str | None = None) -> tuple[int, Message, dict[str, Any]]:
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
    request = urllib.request.Request(url, json.dumps(document).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read())


def usage_of(site: Site, source: str) -> dict[str, Any]:
    shown = json.loads(site.command("usage", "--source", source, "--json").stdout)
    [item] = shown["items"]
    return {name: item[name] for name in ("jobs", "characters", "reserved", "credits")}


def test_speech_shows_the_charge_and_stops_at_the_budget(site: Site, provider: Provider) -> None:
    with_budget(site, provider, "aitts", "characters_per_day = 30")
    provider.sim.settings = replace(provider.sim.settings, extra_characters=3)
    first = site.command(*words("aitts", "Hello world."))
    assert first.returncode == 0
    assert "Charged: 15 characters." in first.stderr
    [job] = json.loads(site.command("jobs", "list", "--json").stdout)["items"]
    assert (job["chars_charged"], job["credits_used"]) == (15, None)
    assert "15" in next(
        line for line in site.command("jobs", "show", job["id"]).stdout.splitlines() if "chars_charged" in line
    )

    second = site.command(*words("aitts", "Hello again world."))
    assert second.returncode == OVER_BUDGET
    assert "15 of 30 characters of today are used, and this text has 18 characters" in second.stderr
    assert "The day ends at" in second.stderr
    long = site.command(*words("aitts", "Hello " * 10, "--no-wait"))
    assert (long.returncode, "more than the budget of a whole day" in long.stderr) == (OVER_BUDGET, True)
    assert texts(provider) == {"Hello world.": 1}

    assert usage_of(site, "aitts") == {"jobs": 1, "characters": 15, "reserved": 0, "credits": "0"}
    shown = site.command("usage")
    assert "Budget of aitts: 15 of 30 characters of today are used." in shown.stderr
    assert site.command("usage", "--csv").stdout.splitlines()[0] == "day,source,jobs,characters,reserved,credits"
    assert site.command("usage", "--source", "aits").returncode == 1
    assert site.command("usage", "--json", "--csv").returncode == 2


def test_the_api_refuses_what_exceeds_the_budget_and_repeats_what_does_not(site: Site, provider: Provider) -> None:
    with_budget(site, provider, "aitts", "characters_per_day = 20")
    server = site.start()
    speech = {"source": "aitts", "voice": "alloy", "text": "Hello world."}
    status, _, job = post(f"{server.private}/v1/speech", speech, "first")
    assert (status, job["chars_charged"]) == (202, 12)
    status, headers, problem = post(f"{server.private}/v1/speech", speech, "second")
    assert (status, problem["reason"]) == (429, "budget_exceeded")
    assert 0 < int(headers["Retry-After"]) <= 86_400
    budget = problem["budget"]
    assert {name: budget[name] for name in ("unit", "used", "limit", "requested")} == {
        "unit": "characters",
        "used": "12",
        "limit": "20",
        "requested": 12,
    }
    assert post(f"{server.private}/v1/speech", speech, "first")[2]["id"] == job["id"]
    status, headers, _ = post(f"{server.private}/v1/speech", speech | {"text": "Hello " * 10})
    assert (status, "Retry-After" in headers) == (422, False)
    assert site.command("jobs", "poll", job["id"]).returncode == 0
    until("the job has ended", lambda: json.loads(get(f"{server.private}/v1/jobs/{job['id']}")[1])["ended_at"])
    found = json.loads(get(f"{server.private}/v1/usage?source=aitts")[1])
    assert [(item["characters"], item["reserved"], item["jobs"]) for item in found["items"]] == [(12, 0, 1)]
    assert [(of["characters"], of["characters_per_day"]) for of in found["budgets"]] == [(12, 20)]
    metrics = get(f"{server.private}/metrics")[1]
    assert 'tts_receiver_submits_total{outcome="budget_exceeded",source="aitts"} 2.0' in metrics
    assert len(list(server.lines("submit.refused"))) == 2


def test_a_batch_stops_at_the_budget_and_continues_when_there_is_place_again(site: Site, provider: Provider) -> None:
    with_budget(site, provider, "aitts", "characters_per_day = 25")
    lines = [f"Line {n} .... " for n in range(5)]
    (site.folder / "lines.txt").write_text("".join(f"{line.strip()}\n" for line in lines))
    batch = [*words("aitts", "--file", "lines.txt"), "--concurrency", "1"]
    stopped = site.command(*batch)
    assert stopped.returncode == OVER_BUDGET
    assert "22 of 25 characters of today are used" in stopped.stderr
    assert "No further lines were started. The same command continues then." in stopped.stderr
    assert "2 of 5 lines are saved in speech-lines, 3 not started." in stopped.stdout
    site.config.write_text(site.config.read_text().replace("characters_per_day = 25", "characters_per_day = 100"))
    again = site.command(*batch, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["chars_charged"] == 33
    assert set(texts(provider).values()) == {1}
    assert len(texts(provider)) == 5
    report = [json.loads(line) for line in (site.folder / "speech-lines" / "report.jsonl").read_text().splitlines()]
    assert [line["chars_charged"] for line in report[1:]] == [11] * 5


def test_credits_are_exact_decimals(site: Site, provider: Provider) -> None:
    with_budget(site, provider, "miragic", "credits_per_day = 0.3")
    provider.sim.settings = replace(provider.sim.settings, miragic_credits=0.1)
    for n in range(3):
        done = site.command(*words("miragic", f"Number {n}."))
        assert (done.returncode, "Charged: 0.1 credits." in done.stderr) == (0, True)
    refused = site.command(*words("miragic", "Number 4."))
    assert refused.returncode == OVER_BUDGET
    assert "0.3 of 0.3 credits of today are used" in refused.stderr
    assert usage_of(site, "miragic") == {"jobs": 3, "characters": 27, "reserved": 27, "credits": "0.3"}


def test_a_configured_path_says_what_is_left_and_what_a_speech_costs(
    site: Site, stub: Callable[[Callable[[Any], None]], Stub]
) -> None:
    received: list[tuple[str, str, bytes, str | None]] = []

    def answer(handler: Any) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        received.append((handler.command, handler.path, body, handler.headers.get("Idempotency-Key")))
        assert handler.headers["Authorization"] == f"Bearer {API_KEY}"
        says(200, b'{"data":{"left":-0.10,"price":[{"credits":"1.25"}],"none":null}}')(handler)

    tables = (
        'balance = { path = "/api/v1/account?unit=credits", value = "data.left" }\n'
        'estimate = { path = "/api/v1/estimate", value = "data.price.0.credits" }'
    )
    site.configure(base_url=stub(answer).url, source=tables)
    balance = site.command("usage", "--balance", "--json")
    assert json.loads(balance.stdout) == {"items": [{"source": "aitts", "balance": "-0.1"}]}
    estimate = site.command(*words("aitts", "Hello."), "--estimate")
    assert (estimate.returncode, estimate.stdout) == (0, "1.25\n")
    assert [(method, path, key) for method, path, _, key in received] == [
        ("GET", "/api/v1/account?unit=credits", None),
        ("POST", "/api/v1/estimate", None),
    ]
    assert json.loads(received[1][2]) == {"text": "Hello.", "voice_id": "alloy"}
    assert not site.store.exists(), "nothing was stored"

    site.config.write_text(site.config.read_text().replace("data.left", "data.none"))
    failed = site.command("usage", "--balance")
    assert (failed.returncode, "no number at data.none" in failed.stderr) == (1, True)
    assert site.command("usage", "--balance", "--since", "2d").returncode == 2
    assert site.command("speech", "--file", "lines.txt", "--estimate", "--source", "aitts").returncode == 2
    site.configure()
    assert site.command("usage", "--balance").returncode == 2
    assert site.command(*words("aitts", "Hello."), "--estimate").returncode == 2


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    """An empty database."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_submit_at_once_never_exceed_the_budget(
    site: Site, provider: Provider, kind: str, request: pytest.FixtureRequest
) -> None:
    store = "" if kind == "sqlite" else f'[store]\nurl = "{request.getfixturevalue("address")}"\n'
    source = f"{QUICK}\nbudget = {{ characters_per_day = 33 }}"
    site.configure(store, base_url="http://127.0.0.1:9", source=source)
    site.command(*words("aitts", "1234567890", "--no-wait"))
    commands = [words("aitts", "1234567890", "--no-wait") for _ in range(6)]
    codes = sorted(done.returncode for done in site.together(*commands))
    assert codes == [0, 0, 3, 3, 3, 3]
    assert usage_of(site, "aitts") == {"jobs": 3, "characters": 30, "reserved": 30, "credits": "0"}
