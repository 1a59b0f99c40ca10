"""The signature and the bodies, against calculations that share no code with them."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from receiver.simulator import completed_body, delivery_headers, failed_body, flat_body, sign
from receiver.simulator.checksums import crc32c

BODY = '{"event":"job.completed","data":{"job_id":"ä-1"}}'.encode()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@pytest.mark.parametrize("secret", ["whsec_abc", "deadbeef" * 8, "plain", "schlüssel"])
def test_the_signature_is_the_one_that_openssl_computes(secret: str) -> None:
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", secret],
        input=b"1700000000." + BODY,
        capture_output=True,
        check=True,
    )
    expected = done.stdout.decode().rsplit("= ", 1)[1].strip()
    assert sign(secret, BODY, 1_700_000_000) == f"t=1700000000,v1={expected}"


def test_a_known_signature_stays_the_same() -> None:
    expected = "b253639bcd705ed1cda3073f66104f16988bd40272584dea7d0d345ae93e61cc"
    assert sign("s", b"{}", 1) == f"t=1,v1={expected}"


def test_a_delivery_has_the_three_headers_of_the_provider() -> None:
    headers = delivery_headers("s", BODY, 5, event="job.completed", delivery_id="d-1")
    assert headers["X-TTS-Signature"] == sign("s", BODY, 5)
    assert headers["X-TTS-Event"] == "job.completed"
    assert headers["X-TTS-Delivery-ID"] == "d-1"


def test_a_completed_body_has_the_documented_fields() -> None:
    body = json.loads(
        completed_body(
            "j",
            created_at=0.0,
            audio_endpoint="https://x/audio",
            audio_url="https://y",
            audio_url_expires_at=86400.0,
            chars_charged=3,
            metadata={"order": 1},
        )
    )
    assert body == {
        "event": "job.completed",
        "created_at": "1970-01-01T00:00:00.000Z",
        "data": {
            "job_id": "j",
            "status": "completed",
            "audio_url": "https://y",
            "audio_url_expires_at": "1970-01-02T00:00:00.000Z",
            "audio_endpoint": "https://x/audio",
            "chars_charged": 3,
            "metadata": {"order": 1},
        },
    }


def test_a_failed_body_holds_the_error_as_it_was_given() -> None:
    error = {"code": "GENERATION_FAILED", "message": "no"}
    assert json.loads(failed_body("j", created_at=0.0, error=error))["data"]["error"] == error
    assert json.loads(failed_body("j", created_at=0.0, error="no"))["data"]["error"] == "no"


def test_the_flat_body_has_no_data() -> None:
    body = json.loads(flat_body("job.completed", job_id="j", audio_endpoint=None))
    assert body == {"event": "job.completed", "job_id": "j"}


def test_crc32c_gives_the_published_check_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283
