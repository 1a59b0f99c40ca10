"""The contract tests for a completed job's audio: its files, and the requests for each of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from receiver.contract.checks import JOB_ID, check_audio, property_settings, versions
from receiver.contract.recorded import Recorded, Recordings
from receiver.contract.strategies import API_KEY, base_urls, payloads
from receiver.providers.protocols import Provider

UNSEEN_KEY = "tts_live_unseen"
"""A key that no generated payload contains; a payload's URL may contain anything else."""


class FilesContract(Recordings):
    """Uses the fixtures `provider` and `documents`."""

    def test_a_completed_job_has_requests_for_its_audio(self, provider: Provider, documents: list[Recorded]) -> None:
        for document in documents:
            if "completed" in document.means:
                payload = document.means["completed"]
                files = provider.audio_requests(provider.base_url, API_KEY, JOB_ID, payload)
                assert files, document
                check_audio(files, provider.base_url, API_KEY)
                addresses = [[request.url for request in requests] for requests in files]
                assert document.files in (None, addresses), document
                assert payload.get("audio_url") in (None, *addresses[0])
                assert all(any(url in urls for urls in addresses) for url in payload.get("audio_urls", []))

    def test_a_job_has_several_files_only_if_the_capabilities_say_so(
        self, provider: Provider, documents: list[Recorded]
    ) -> None:
        counts = {len(document.files) for document in documents if document.files is not None}
        several = {version.capabilities.several_outputs for version in versions(provider)}
        assert any(count > 1 for count in counts) == (True in several)

    @property_settings
    @given(base=base_urls, payload=payloads)
    def test_audio_is_requested_with_the_key_at_the_services_own_origin_only(
        self, provider: Provider, base: str, payload: dict[str, Any]
    ) -> None:
        check_audio(provider.audio_requests(base, UNSEEN_KEY, JOB_ID, payload), base, UNSEEN_KEY)
