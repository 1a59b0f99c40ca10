"""The suite that authors are given finds what is wrong with a provider, and costs nobody else anything."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver.contract import ProviderContract, load
from receiver.model.delivery import Headers, Parsed
from receiver.providers.aitts import Aitts
from receiver.providers.audixa import Audixa
from receiver.providers.base import AudioRequest, header_word
from receiver.providers.finevoice import Finevoice
from receiver.providers.types import Account, Invalid, Request, Response, Running, Speech, Status, Submitted, VoiceQuery

DOCUMENTS = Path(__file__).parent / "documents"


class KeyInAddress(Finevoice):
    def status_request(self, account: Account, job_id: str) -> Request:
        return replace(super().status_request(account, job_id), url=f"{account.base_url}/x?key={account.api_key}")


class PathOfTheId(Finevoice):
    def status_request(self, account: Account, job_id: str) -> Request:
        return Request("GET", f"{account.base_url}/v1/task/{job_id}")


class HalfAHistory(Finevoice):
    def history_request(self, account: Account, offset: int) -> Request:
        return Request("GET", account.base_url)


class HidesVoices(Audixa):
    voices_request: Any = None


class TakesAnything(Finevoice):
    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        return super().submit_request(account, Speech(text=speech.text, voice=speech.voice), idempotency_key)


class EndsOnAnyWord(Finevoice):
    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        if b"WARMING_UP" in response.body:
            raise Invalid("I do not know this word.")
        return super().read_status(account, job_id, response)


class FallsOver(Finevoice):
    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        return Running(str({}["status"]))


class SaysNoToEverything(Finevoice):
    def read_submit(self, account: Account, response: Response) -> Submitted:
        if response.status >= 500:
            raise Invalid("No.")
        return super().read_submit(account, response)


class OneOfSeveral(Finevoice):
    def audio_requests(
        self, base_url: str, api_key: str | None, job_id: str, payload: Mapping[str, Any]
    ) -> list[list[AudioRequest]]:
        return super().audio_requests(base_url, api_key, job_id, payload)[:1]


class DropsTheFilter(Aitts):
    def voices_request(self, account: Account, query: VoiceQuery) -> Request:
        return super().voices_request(account, VoiceQuery())


class RegistersWithTheApiKey(Aitts):
    def test_request(self, account: Account, id_token: str) -> Request:
        return super().test_request(account, account.api_key or "")


class IdentifiesByAHeader(Aitts):
    def parse_delivery(self, headers: Headers, body: bytes) -> Parsed:
        return super().parse_delivery(headers, body)._replace(event_id=header_word(headers, b"x-tts-delivery-id"))


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        (KeyInAddress(), "a_request_goes_to_the_accounts_own_origin_with_the_key_in_a_header_alone"),
        (PathOfTheId(), "no_job_id_changes_the_shape_of_the_address"),
        (HalfAHistory(), "it_implements_the_protocol_of_each_capability_as_a_whole"),
        (HidesVoices(), "it_implements_the_protocol_of_each_capability_as_a_whole"),
        (TakesAnything(), "an_option_is_sent_if_the_service_accepts_it_and_otherwise_refused"),
        (EndsOnAnyWord(), "an_unknown_status_word_is_still_running"),
        (FallsOver(), "no_single_wrong_field_of_a_response_breaks_the_reading"),
        (SaysNoToEverything(), "a_service_that_breaks_may_have_accepted_the_job"),
        (OneOfSeveral(), "a_completed_job_has_requests_for_its_audio"),
        (DropsTheFilter(), "a_filter_is_sent_or_refused"),
        (IdentifiesByAHeader(), "unsigned_headers_name_a_test_at_most"),
        (RegistersWithTheApiKey(), "requests_carry_the_id_token_and_not_the_api_key"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_provider_that_is_wrong_in_one_thing_fails_the_test_of_that_thing(provider: Any, name: str) -> None:
    folder = DOCUMENTS / provider.name
    fixtures = {
        "provider": provider,
        "documents": load(folder),
        "submits": load(folder / "submit"),
        "voice_lists": load(folder / "voices"),
        "histories": load(folder / "history"),
    }
    test = getattr(ProviderContract(), f"test_{name}")
    wanted = inspect.signature(test).parameters
    with pytest.raises((AssertionError, KeyError, ExceptionGroup)):
        test(**{fixture: value for fixture, value in fixtures.items() if fixture in wanted})


def loaded_by(statement: str) -> set[str]:
    """The modules that this statement loads, in a process of its own."""
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    return set(done.stdout.split())


def test_nothing_that_runs_needs_what_the_suite_needs() -> None:
    every = "from receiver.cli.commands import COMMANDS, build; import typer; group = typer.main.get_command(build())"
    assert not loaded_by(f"{every}; [group.load(name) for name in COMMANDS]; import receiver.cli.serve") & {
        "pytest",
        "hypothesis",
        "receiver.contract",
    }


def test_the_suite_needs_none_of_what_runs() -> None:
    rooms = {name.split(".")[1] for name in loaded_by("import receiver.contract") if name.startswith("receiver.")}
    assert rooms == {"contract", "errors", "model", "providers"}
