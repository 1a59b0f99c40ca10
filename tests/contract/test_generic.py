"""A generic source keeps the contract like any provider module, on documents of made-up services."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.contract import ProviderContract
from receiver.model.signature import SCHEMES
from receiver.providers.protocols import Provider
from receiver.settings import GenericTable

BASE_URL = "https://api.voices.example"
TABLES = {
    "generic": GenericTable(
        event_header="X-Event",
        event="type",
        job_id="data.job.id",
        status=["data.job.state", "job.state"],
        completed_words=["finished", "speech.finished"],
        failed_words=["broken", "rejected", "speech.broken"],
        audio_url=["data.job.outputs", "job.outputs"],
        error_code=["data.job.problem.code", "job.problem.code"],
        error_message=["data.job.problem.text", "job.problem.text"],
        metadata=["data.job.labels", "job.labels"],
        status_url="/v1/jobs/{job_id}",
        progress="job.percent",
        audio_needs_key=True,
    ),
    "generic_polled": GenericTable(
        status="status",
        audio_url="all",
        status_url="/status?job={job_id}&full=1",
        auth_header="X-Api-Key",
        auth_prefix="",
        min_poll_seconds=5,
    ),
}


@pytest.fixture(scope="module", params=sorted(TABLES))
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def provider(shape: str) -> Provider:
    return TABLES[shape].provider(BASE_URL, SCHEMES["elevenlabs"] if shape == "generic" else None)


@pytest.fixture(scope="module")
def folder(shape: str) -> Path:
    return Path(__file__).parent / "documents" / shape


class TestGeneric(ProviderContract):
    pass
