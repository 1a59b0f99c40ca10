"""The part of the contract about submitting a speech."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.providers.base import Provider, origin_of
from receiver.providers.wire import (
    ProviderError,
    Response,
    Speech,
    Submitted,
)
from tests.contract.checks import (
    account,
    anywhere,
    check_meaning,
    submit,
    submitted,
    versions,
)
from tests.contract.recorded import Recorded
from tests.contract.strategies import (
    KEY,
    anything,
    as_bytes,
    bases,
    damaged,
    header_lines,
    one_field_wrong,
    statuses,
)


class SubmitContract:
    """Uses the fixtures `provider` and `submits`."""

    def test_every_answer_to_a_submit_means_what_is_written_of_it(
        self, provider: Provider, submits: list[Recorded]
    ) -> None:
        assert {"submitted", "error"} <= {name for document in submits for name in document.means}
        for document in submits:
            means = dict(document.means)
            got = submitted(provider, document.response, document.api_version)
            assert (got.job_id if isinstance(got, Submitted) else None) == means.pop("submitted", None), document
            check_meaning(got.status if isinstance(got, Submitted) else got, means)

    def test_no_one_field_of_an_answer_to_a_submit_can_break_the_reading(
        self, provider: Provider, submits: list[Recorded]
    ) -> None:
        for document in submits:
            for response in one_field_wrong(document):
                submitted(provider, response, document.api_version)

    @anywhere
    @given(data=st.data(), status=statuses, headers=header_lines, body=st.binary() | anything.map(as_bytes))
    def test_any_answer_to_a_submit_is_a_job_or_an_error(
        self, provider: Provider, submits: list[Recorded], data: st.DataObject, status: int, headers: Any, body: bytes
    ) -> None:
        recorded, response = data.draw(damaged(submits))
        submitted(provider, response, recorded.api_version)
        got = submitted(provider, Response(status, headers, body))
        assert isinstance(got, ProviderError if not 200 <= status <= 299 else Submitted | ProviderError)

    @anywhere
    @given(base=bases, text=st.text(), voice=st.text(), metadata=anything)
    def test_a_submit_goes_to_the_accounts_own_origin_and_is_the_same_each_time(
        self, provider: Provider, base: str, text: str, voice: str, metadata: Any
    ) -> None:
        speech = Speech(text=text, voice=voice, metadata={"any": metadata})
        for version in versions(provider):
            request = submit(provider, speech, version, base)
            if request is None:
                continue
            assert (request.method, origin_of(request.url)) == ("POST", origin_of(base))
            assert KEY not in f"{request.url} {request!r}"
            assert sum(KEY in value for value in request.headers.values()) == 1
            assert ("same-key" in request.headers.values()) == provider.capabilities.of(
                account(provider, version)
            ).idempotent_submit
            assert request == submit(provider, speech, version, base)

    def test_what_the_service_does_not_take_is_refused_and_what_it_takes_is_sent(self, provider: Provider) -> None:
        wishes = {
            "sample_rate": 24_077,
            "bitrate_kbps": 177,
            "speed": 1.377,
            "model": "a-model",
            "webhook_url": "w://x",
        }
        for version in versions(provider):
            able = provider.capabilities.of(account(provider, version))
            for name, value in wishes.items():
                request = submit(provider, Speech(text="t", voice="v", **{name: value}), version)
                assert (request is not None) == (name in able.options), name
                assert request is None or str(value).encode() in (request.body or b"")
            for format in ("wav", "mp3", "ogg_opus", "flac"):
                request = submit(provider, Speech(text="t", voice="v", format=format), version)
                assert (request is not None) == (format in able.formats), format
                assert request is None or format.encode() in (request.body or b"")
