"""`send` to a real receiver: a test, the end of a job with metadata, a body from a file; and what it refuses."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.acceptance.support import SECRET, SOURCE, Site, completed
from tests.acceptance.wrong_provider import Stub, says
from tests.certificate import self_signed

GENERIC = (
    f'[sources.voices]\nprovider = "generic"\nsigning_secrets = ["{SECRET}"]\n'
    '[sources.voices.signature]\npreset = "github"\n'
    '[sources.voices.generic]\nevent = "type"\njob_id = "job"\ncompleted_words = ["done"]\n'
)


def events(site: Site) -> list[dict[str, Any]]:
    return site.rows("SELECT source, type, job_id, payload, body FROM events ORDER BY id")


def test_what_is_sent_is_what_was_asked_for(site: Site) -> None:
    site.configure(GENERIC + 'metadata = "extra"\n')
    server = site.start()
    url = ["--url", f"{server.public}/webhooks/{SOURCE}"]
    (site.folder / "body.json").write_bytes(completed("from-a-file", metadata={"order": 7}))
    for arguments, stdin in (
        ([*url], b""),
        ([*url, "--event", "job.failed", "--job", "j-1", "--metadata", "order=8", "--metadata", "by=x=y"], b""),
        ([*url, "--data", "body.json"], b""),
        ([*url, "--event", "jöb.done", "--job", "j-2"], b""),
        ([*url, "--data", "-"], completed("from-a-pipe")),
        (["--url", f"{server.public}/webhooks/voices", "--event", "job.completed", "--metadata", "a=b"], b""),
    ):
        name = "voices" if "voices" in arguments[1] else SOURCE
        done = site.command("send", "--source", name, *arguments, stdin=stdin)
        assert (done.returncode, done.stdout[:3]) == (0, "202"), done.stdout + done.stderr
    test, failed, file, word, pipe, other = events(site)
    assert test["type"] == "test"
    assert (failed["type"], failed["job_id"]) == ("job.failed", "j-1")
    assert failed["payload"]["metadata"] == {"order": "8", "by": "x=y"}
    assert file["body"] == (site.folder / "body.json").read_bytes()
    assert file["payload"]["metadata"] == {"order": 7}
    assert (word["type"], word["job_id"]) == ("jöb.done", "j-2"), "no header can carry this type"
    assert (pipe["type"], pipe["job_id"]) == ("job.completed", "from-a-pipe")
    assert other["payload"]["metadata"] == {"a": "b"}
    assert "event_header_mismatch" not in server.text()

    refused = site.command("send", "--source", SOURCE, *url, "--data", "-", stdin=b"[]")
    assert (refused.returncode, refused.stdout[0]) == (1, "4"), "the answer tells"
    assert len(events(site)) == 6


def test_what_contradicts_itself_is_refused_before_anything_is_sent(site: Site) -> None:
    site.configure(GENERIC)
    (site.folder / "long").write_bytes(b"x" * (1 << 20) + b"x")
    nobody = ["--url", "http://127.0.0.1:9/"]
    cases = {
        ("--data", "long", "--event", "test"): "omit --event, --job and --metadata",
        ("--data", "long", "--job", "j"): "omit --event, --job and --metadata",
        ("--data", "long"): "longer than server.max_body_bytes, 1048576 bytes",
        ("--data", "no-such-file"): "no-such-file cannot be read: No such file or directory",
        ("--metadata", "order=7"): "Only the end of a job has metadata, not test: add --event job.completed",
        ("--event", "job.completd"): "no event 'job.completd'; did you mean 'job.completed'?",
        ("--event", "job.completed", "--metadata", "order"): "'order' is not KEY=VALUE",
        ("--source", "voices", "--event", "job.completed", "--metadata", "a=b"): "set metadata in the source's generic",
    }
    done = site.together(*(["send", "--source", SOURCE, *nobody, *case] for case in cases))
    for answer, (case, words) in zip(done, cases.items(), strict=True):
        said = " ".join(answer.stderr.replace("│", " ").split())
        assert answer.returncode == 2, (case, answer.stderr)
        assert words in said, (case, said)


def test_a_proxy_with_a_certificate_of_the_operators_own_authority_is_reached(
    site: Site, tmp_path: Path, stub: Callable[[Callable[[Any], None]], Stub]
) -> None:
    site.configure()
    certificate = self_signed(tmp_path / "own.pem", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    proxy = stub(says(202, b"{}"))
    proxy.server.socket = context.wrap_socket(proxy.server.socket, server_side=True)
    send = ["send", "--source", SOURCE, "--url", proxy.url.replace("http:", "https:")]
    refused = site.command(*send)
    assert refused.returncode == 1
    assert "certificate verify failed" in refused.stderr
    trusted = site.command(*send, SSL_CERT_FILE=str(certificate))
    assert (trusted.returncode, trusted.stdout) == (0, "202 {}\n"), trusted.stderr
