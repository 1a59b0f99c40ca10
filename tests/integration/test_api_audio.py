"""The audio of an event over the private API: whole and by ranges, from a folder and from an object store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from receiver import Settings
from receiver.errors import AudioError
from receiver.web.api.ranges import Unsatisfiable, read_range
from tests.integration.api_support import Api, api, event_number, listening, problem
from tests.integration.intake_support import configured, logged
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 8
WHERE = ["data/audio", "memory://"]


def stored_at(tmp_path: Path, url: str = "data/audio") -> Settings:
    return configured(tmp_path, handlers={}, audio={"url": url})


async def with_audio(api_client: Api, content: bytes = CONTENT) -> tuple[str, str]:
    """The path of an event's audio, and its entity tag."""
    (id,) = await api_client.add(1)
    return f"/v1/events/{id}/audio", f'"{await api_client.give_audio(id, content)}"'


def breaking(api_client: Api, after: int) -> None:
    """From now on the storage breaks off after so many pieces."""
    stream = api_client.up.receiver.storage.stream

    async def breaks(address: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        left = after
        async for piece in stream(address, start, end):
            if left == 0:
                raise AudioError("The disk is gone.", reason="storage_failed")
            left -= 1
            yield piece

    api_client.up.receiver.storage.stream = breaks  # type: ignore[method-assign]


@pytest.mark.parametrize("url", WHERE)
async def test_the_whole_file_is_sent_as_it_was_stored(tmp_path: Path, url: str) -> None:
    async with api(stored_at(tmp_path, url)) as api_client:
        path, tag = await with_audio(api_client)
        answer = await api_client.get(path)
        assert (answer.status_code, answer.content) == (200, CONTENT)
        wanted = {
            "content-type": "audio/wav",
            "content-length": "2048",
            "etag": tag,
            "accept-ranges": "bytes",
            "content-disposition": f'attachment; filename="{event_number(1)}-0.wav"',
            "x-content-type-options": "nosniff",
            "cache-control": "private, no-cache",
        }
        assert dict(answer.headers) == wanted
        head = await api_client.client.head(path)
        assert (head.status_code, head.content, dict(head.headers)) == (200, b"", wanted)


@pytest.mark.parametrize("url", WHERE)
@pytest.mark.parametrize(
    ("asked_for", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=100-199", 100, 200), ("bytes=2000-", 2000, 2048), ("bytes=-48", 2000, 2048),
     ("bytes=2000-9999", 2000, 2048), ("bytes=-9999", 0, 2048), ("BYTES=0-9", 0, 10)],
)  # fmt: skip
async def test_a_range_is_sent_as_a_part(tmp_path: Path, url: str, asked_for: str, start: int, end: int) -> None:
    async with api(stored_at(tmp_path, url)) as api_client:
        path, _ = await with_audio(api_client)
        answer = await api_client.get(path, range=asked_for)
        assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/2048"
        assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("range", ["bytes=0-1,4-5", "bytes=9-1", "items=0-1", "bytes", "bytes=-", "bytes=x-y"])
async def test_a_range_that_is_none_is_passed_over(tmp_path: Path, range: str) -> None:
    async with api(stored_at(tmp_path)) as api_client:
        path, _ = await with_audio(api_client)
        answer = await api_client.get(path, range=range)
        assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("range", ["bytes=2048-", "bytes=9999-10000", "bytes=-0"])
async def test_a_range_behind_the_end_is_refused_with_the_size(tmp_path: Path, range: str) -> None:
    async with api(stored_at(tmp_path)) as api_client:
        path, _ = await with_audio(api_client)
        answer = await api_client.get(path, range=range)
        assert problem(answer) == (416, "bad_range")
        assert answer.headers["content-range"] == "bytes */2048"


async def test_a_range_of_another_version_gives_the_whole_file(tmp_path: Path) -> None:
    async with api(stored_at(tmp_path)) as api_client:
        path, tag = await with_audio(api_client)
        assert (await api_client.get(path, range="bytes=0-9", if_range=tag)).status_code == 206
        assert (await api_client.get(path, range="bytes=0-9", if_range='"other"')).status_code == 200
        assert (
            await api_client.get(path, range="bytes=0-9", if_range="Sat, 21 Nov 2026 10:00:00 GMT")
        ).status_code == 200


async def test_several_files_of_a_job_are_counted_from_0(tmp_path: Path) -> None:
    async with api(stored_at(tmp_path)) as api_client:
        path, _ = await with_audio(api_client)
        await api_client.give_audio(event_number(1), b"the second", n=1)
        assert (await api_client.get(f"{path}?n=1")).content == b"the second"
        assert problem(await api_client.get(f"{path}?n=2")) == (404, "not_fetched")
        assert problem(await api_client.get(f"{path}?n=-1")) == (400, "invalid_request")


async def test_audio_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    async with api(stored_at(tmp_path)) as api_client:
        await api_client.add(1, 2, 3)
        assert problem(await api_client.get(f"/v1/events/{event_number(9)}/audio")) == (404, "not_found")
        assert problem(await api_client.get(f"/v1/events/{event_number(1)}/audio")) == (404, "not_fetched")
        await api_client.give_audio(event_number(2), CONTENT)
        (tmp_path / "data" / "audio" / "aitts" / f"{event_number(2)}-0.wav").unlink()
        assert problem(await api_client.get(f"/v1/events/{event_number(2)}/audio")) == (404, "audio_missing")
        await api_client.give_audio(event_number(3), CONTENT, address="/etc/passwd")
        assert problem(await api_client.get(f"/v1/events/{event_number(3)}/audio")) == (404, "audio_missing")


async def test_what_the_row_says_of_the_format_makes_no_header_of_its_own(tmp_path: Path) -> None:
    async with api(stored_at(tmp_path)) as api_client:
        await api_client.add(1)
        await api_client.give_audio(
            event_number(1), CONTENT, content_type="text/html", format='../"x\r\nSet-Cookie: a=b'
        )
        answer = await api_client.get(f"/v1/events/{event_number(1)}/audio")
        assert answer.headers["content-type"] == "audio/octet-stream"
        assert answer.headers["content-disposition"] == f'attachment; filename="{event_number(1)}-0.xsetcookie"'


async def test_storage_that_cannot_be_read_is_a_problem_as_long_as_nothing_was_sent(tmp_path: Path) -> None:
    async with api(stored_at(tmp_path)) as api_client:
        path, _ = await with_audio(api_client)
        breaking(api_client, after=0)
        assert problem(await api_client.get(path)) == (502, "storage_failed")


async def test_a_file_that_breaks_off_closes_the_connection_and_is_logged(tmp_path: Path) -> None:
    content = b"x" * (3 << 20)
    with logged() as lines:
        async with api(stored_at(tmp_path)) as api_client:
            path, _ = await with_audio(api_client, content)
            breaking(api_client, after=1)
            async with listening(api_client.up.receiver.private) as base, httpx.AsyncClient(timeout=PATIENCE) as client:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get(base + path)
        assert [line["detail"] for line in lines.of("api.audio_interrupted")] == ["The disk is gone."]


@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(range=st.one_of(st.text(alphabet="bytes=0123456789-, \t", max_size=30), st.from_regex(r"\Abytes=\d*-\d*\Z")))
def test_no_range_breaks_the_answer(range: str) -> None:
    try:
        found = read_range(range, 2048)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found[0] < found[1] <= 2048
