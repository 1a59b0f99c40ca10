"""Which webhook addresses are refused before a provider is asked."""

from __future__ import annotations

import pytest

from receiver.cli.public_url import NotPublicUrl, check_public


@pytest.mark.parametrize(
    "url",
    [
        "https://tts.example.com/webhooks/aitts",
        "https://tts.example.com:8443/hooks?source=aitts",
        "https://93.184.216.34/webhooks/aitts",
        "https://[2606:2800:220:1:248:1893:25c8:1946]/webhooks/aitts",
        "https://internal.example.com/x",
    ],
)
def test_a_public_https_address_is_taken(url: str) -> None:
    check_public(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://tts.example.com/webhooks/aitts", "is not https"),
        ("tts.example.com/webhooks/aitts", "is not an absolute https address"),
        ("https://", "is not an absolute https address"),
        ("https://user:word@tts.example.com/", "is not an absolute https address"),
        ("https://tts.example.com/#there", "is not an absolute https address"),
        ("https://tts.example.com/a b", "is not an absolute https address"),
        ("https://tts.exämple.com/", "is not an absolute https address"),
        ("https://[::1/", "is not an absolute https address"),
        ("https://localhost/webhooks/aitts", "is not public"),
        ("https://LOCALHOST./webhooks/aitts", "is not public"),
        ("https://a.localhost/", "is not public"),
        ("https://printer.local/", "is not public"),
        ("https://tts.svc.internal:8443/", "is not public"),
        ("https://receiver/", "is not public"),
        ("https://127.0.0.1/", "is not public"),
        ("https://10.1.2.3/", "is not public"),
        ("https://169.254.169.254/", "is not public"),
        ("https://[::1]/", "is not public"),
        ("https://[fd00::1]/", "is not public"),
        ("https://[::ffff:10.0.0.1]/", "is not public"),
    ],
)
def test_an_address_that_the_provider_would_refuse_is_refused(url: str, why: str) -> None:
    with pytest.raises(NotPublicUrl, match=why):
        check_public(url)
