"""`listen` as a process: every event reaches a local application, in order, signed, whatever breaks on this machine."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.acceptance.listen_kills import measure
from tests.acceptance.listening import (
    Application,
    Received,
    application,
    events_in_order,
    listening,
    secret_of,
    send,
    state_files,
)
from tests.acceptance.support import SECRET, Provider, Site, completed, deliver, signed_headers

Reply = tuple[int, bytes, dict[str, str]]


@pytest.fixture
def app() -> Iterator[Application]:
    """The local application."""
    with application() as running:
        yield running


def test_killed_while_events_arrive_it_misses_none_and_repeats_only_the_one_in_flight(site: Site) -> None:
    report = measure(site, 5, seed=7)
    assert report.is_good, [report, report.faults]
    assert report.events > 50


def test_new_events_come_signed_and_a_kill_before_the_first_loses_none(site: Site, app: Application) -> None:
    server = site.configure().start()
    before = send(server, "before")
    with listening(site, server.private, app.url) as command:
        command.wait_for("Connected.")
    missed = send(server, "while it was down")
    with listening(site, server.private, app.url) as command:
        command.wait_for("where it stopped")
        app.wait_for(1)
        later = send(server, "while it ran")
        app.wait_for(2)
        assert command.stop(signal.SIGTERM) == "Stopped. Events: 2, repeated attempts: 0."
    assert app.ids() == [missed, later]
    assert before not in app.ids()
    secret = secret_of(site)
    assert f"Secret    {secret}" in command.text()
    for found in app.received:
        found.verify(secret)


def test_only_events_with_the_metadata_are_handed_over(site: Site, app: Application) -> None:
    server = site.configure('[search]\nmetadata = ["customer"]').start()
    send(server, "of another", metadata={"customer": "globex"})
    wanted = send(server, "wanted", metadata={"customer": "Smith & Sons"})
    words = ("--since", "1h", "--metadata", "customer=Smith & Sons")
    with listening(site, server.private, app.url, *words) as command:
        app.wait_for(1)
        send(server, "without")
        later = send(server, "later", metadata={"customer": "Smith & Sons"})
        app.wait_for(2)
        assert command.stop(signal.SIGTERM) == "Stopped. Events: 2, repeated attempts: 0."
    assert app.ids() == [wanted, later]
    with listening(site, server.private, app.url, "--metadata", "custmer=acme") as command:
        command.wait_for("did you mean 'customer'?")


def test_the_document_is_the_one_that_forward_sends_with_the_audio(
    site: Site, provider: Provider, app: Application
) -> None:
    with application() as forwarded:
        secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
        handlers = (
            f'[handlers.forward]\nurl = "{forwarded.url}"\nsecrets = ["{secret}"]\nallow_private_addresses = true\n'
        )
        server = site.configure(base_url=provider.sim.base_urls["aitts"], handlers=handlers).start()
        with listening(site, server.private, app.url, "--since", "1h") as command:
            command.wait_for("Connected.")
            link = {"temporary": "https://user:pass@storage.example/a?X-Signature=secret#x"}
            deliver(
                server.public, completed(provider.completed_job().id, chars_charged=7, metadata={"order": 7} | link)
            )
            failed = {"job_id": "j-2", "status": "failed", "error": {"code": "X", "message": "see //h/p?q=1"}}
            for event, data in (("job.failed", failed), ("job.progress", {"at": 50, "url": "https://h/p?q=1"})):
                body = json.dumps({"event": event, "data": data}).encode()
                assert deliver(server.public, body, signed_headers(body)) is not None
            app.wait_for(3)
            forwarded.wait_for(3)
            command.stop(signal.SIGTERM)
    ours = {found.id: found for found in app.received}
    theirs = {json.loads(found.body)["id"]: found for found in forwarded.received}
    assert {id: found.body for id, found in ours.items()} == {id: found.body for id, found in theirs.items()}
    for id, found in ours.items():
        assert found.headers["content-type"] == theirs[id].headers["content-type"]
    assert [len(found.document["data"].get("audio", ())) for found in app.received] == [1, 0, 0]


def test_what_the_application_does_not_accept_comes_again_in_order_until_it_does(site: Site) -> None:
    replies: list[Reply] = [(500, b"boom\x1b[31m", {}), (404, b"", {}), (302, b"", {"Location": "/x"})]
    replies += [(503, b"", {"Retry-After": "0"})]

    def answer(received: Received) -> Reply:
        return replies.pop(0) if replies else (204, b"", {})

    server = site.configure().start()
    first, second = send(server, "j-1"), send(server, "j-2")
    with application(answer=answer) as app, listening(site, server.private, app.url, "--since", "1h") as command:
        app.wait_for(6)
        command.wait_for("j-2")
        assert command.stop() == "Stopped. Events: 2, repeated attempts: 4."
        assert app.ids() == [first] * 5 + [second]
        assert len({found.body for found in app.received[:5]}) == 1
    lines = command.lines()
    assert any("500 in" in line and "again in" in line and "boom [31m" in line for line in lines), lines
    assert f"To pass it over, start again with --skip {first}" in command.wait_for("--skip")
    assert any("302 in" in line and "a redirect, which is not followed" in line for line in lines)
    assert any("204 in" in line and "attempt 5" in line for line in lines)


def test_events_wait_for_an_application_that_is_down(site: Site, app: Application) -> None:
    server = site.configure().start()
    sent = [send(server, f"j-{number}") for number in range(3)]
    app.close()
    with listening(site, server.private, app.url, "--since", "1h") as command:
        command.wait_for("no answer")
        assert "Cannot connect to" in command.wait_for("Cannot connect")
        with application(port=app.port) as again:
            again.wait_for(3)
            assert again.ids() == sent
            command.stop()


def test_an_event_is_passed_over_if_it_is_answered_410_or_named(site: Site) -> None:
    server = site.configure().start()
    gone, named, taken = (send(server, job) for job in ("gone", "named", "taken"))

    def answer(received: Received) -> Reply:
        return (410 if received.id == gone else 204, b"", {})

    with application(answer=answer) as app:
        with listening(site, server.private, app.url, "--since", "1h", "--skip", named) as command:
            command.wait_for("taken")
            assert command.stop() == "Stopped. Events: 1, repeated attempts: 0, answered 410: 1, skipped: 1."
        assert app.ids() == [gone, taken]


def test_ctrl_c_waits_for_the_answer_that_is_due_and_a_second_one_does_not(site: Site) -> None:
    server = site.configure().start()
    first, second = send(server, "j-1"), send(server, "j-2")
    for stops, counted in ((1, "Events: 1"), (2, "Events: 0")):
        with application() as app:
            go_on = threading.Event()
            app.answer = lambda _, go_on=go_on: (go_on.wait(60), (204, b"", {}))[1]  # type: ignore[misc]
            with listening(site, server.private, app.url, "--since", "1h") as command:
                app.wait_for(1)
                command.process.send_signal(signal.SIGINT)
                command.wait_for("Ctrl-C again stops at once")
                if stops == 1:
                    go_on.set()
                else:
                    command.process.send_signal(signal.SIGINT)
                assert command.end()[0] == 0
                assert counted in command.lines()[-1]
            go_on.set()
            assert app.ids() == [first]
    assert second not in app.ids()


def test_since_counts_only_without_a_position_and_reset_forgets_it(site: Site, app: Application) -> None:
    server = site.configure().start()
    sent = [send(server, "j-1"), send(server, "j-2")]
    for arguments, expected in (
        (("--since", "1h"), sent),
        (("--since", "1h"), []),
        (("--since", "1h", "--reset"), sent),
        (("--reset",), []),
    ):
        app.received.clear()
        with listening(site, server.private, app.url, *arguments) as command:
            command.wait_for("Connected.")
            app.wait_for(len(expected))
            command.stop()
        assert app.ids() == expected
    assert len(state_files(site)) == 1


def test_a_time_that_is_still_to_come_for_the_receiver_loses_no_event(site: Site, app: Application) -> None:
    """As with `--since 1m` on a machine whose clock is ahead."""
    server = site.configure().start()
    sent = [send(server, "j-1")]
    ahead = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()
    with listening(site, server.private, app.url, "--since", ahead) as command:
        command.wait_for("Connected.")
        command.kill()
    sent.append(send(server, "j-2"))
    with listening(site, server.private, app.url) as command:
        command.wait_for("Connected.")
        sent.append(send(server, "j-3"))
        command.wait_for("j-3")
    assert app.ids() == sent[1:]


def test_only_the_events_of_a_type_come(site: Site, app: Application) -> None:
    server = site.configure().start()
    send(server, "j-1")
    body = b'{"event":"job.failed","data":{"job_id":"j-2","status":"failed"}}'
    assert deliver(server.public, body) is not None
    with listening(site, server.private, app.url, "--since", "1h", "--type", "job.failed") as command:
        app.wait_for(1)
        command.stop()
    assert [found.document["type"] for found in app.received] == ["job.failed"]
    with listening(site, server.private, app.url, "--type", "job.faild") as command:
        code, text = command.end()
        assert (code, "did you mean 'job.failed'?" in text) == (1, True)


def test_two_at_once_for_the_same_address_are_refused(site: Site, app: Application) -> None:
    server = site.configure().start()
    with listening(site, server.private, app.url) as first:
        first.wait_for("Connected.")
        with listening(site, server.private, app.url) as second:
            code, text = second.end()
            assert (code, f"Another listen hands events of {server.private} to {app.url}" in text) == (1, True)
        with listening(site, server.private, f"{app.url}/other") as other:
            other.wait_for("Connected.")
            id = send(server, "j-1")
            app.wait_for(2)
            other.stop()
        first.stop()
    assert app.ids() == [id, id]
    assert {found.path for found in app.received} == {"/hook", "/hook/other"}


def test_an_event_in_quarantine_is_not_handed_over(site: Site, app: Application) -> None:
    server = site.configure().start()
    body = completed("stale")
    assert deliver(server.public, body, signed_headers(body, int(time.time()) - 4000)) is not None
    fresh = send(server, "fresh")
    with listening(site, server.private, app.url, "--since", "1h") as command:
        app.wait_for(1)
        command.wait_for("in quarantine, not handed over")
        assert command.stop().endswith("in quarantine: 1.")
    assert app.ids() == [fresh]
    assert events_in_order(server.private)[-1] == fresh


def test_secrets_of_a_file_sign_and_are_not_printed(site: Site, app: Application) -> None:
    server = site.configure().start()
    file = site.folder / "secrets"
    new, old = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4"
    file.write_text(f"{new}\n{old}\n")
    send(server, "j-1")
    with listening(site, server.private, app.url, "--since", "1h", "--secret-file", str(file)) as command:
        (found,) = app.wait_for(1)
        command.stop()
    for secret in (new, old):
        found.verify(secret)
    assert f"Secret    of {file}" in command.text()
    assert new not in command.text()
    for text, why in (("whsec_c2hvcnQ=", "less than 16 bytes"), ("", "Between 1 and 16"), ("whpk_x", "")):
        file.write_text(text)
        with listening(site, server.private, app.url, "--secret-file", str(file)) as command:
            code, said = command.end()
            assert (code, why in said, "Traceback" in said) == (1, True, False)


def test_no_line_is_wider_than_80_columns_but_for_what_is_to_be_copied(site: Site) -> None:
    server = site.configure().start()
    replies: list[Reply] = [(500, "声".encode() * 200, {})]
    with application(answer=lambda _: replies.pop() if replies else (204, b"", {})) as app:
        send(server, "声" * 60)
        with listening(site, server.private, app.url, "--since", "1h") as command:
            app.wait_for(2)
            command.wait_for("204 in")
            command.stop()
    assert SECRET not in command.text()
    for line in command.text().splitlines():
        width = sum(2 if ord(char) > 0x2E80 else 1 for char in line)
        assert width <= 80 or str(site.folder) in line, line
