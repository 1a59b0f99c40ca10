"""Builds what is handed over for an event: the document that the handler `forward` sends.

The details come from the receiver's API, and the document from the code of `forward`, so that an application has one
format.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from receiver.cli.listen.errors import NotAStream
from receiver.cli.listen.stream import parse_time
from receiver.engine.context import Artifact
from receiver.engine.plugin_files import PluginFolder
from receiver.engine.plugins import BUILT_IN
from receiver.model.event import COMPLETED, build_event


@dataclass(frozen=True, slots=True)
class Message:
    """The body, its media type, and how many audio files it describes."""

    body: bytes
    content_type: str
    files: int


@dataclass(frozen=True, slots=True)
class _StoredAudio:
    """What the document's builder needs of a handler's context."""

    options: Any
    files: tuple[Artifact, ...]

    async def artifacts(self) -> tuple[Artifact, ...]:
        """The files that the receiver has stored."""
        return self.files


def awaits_audio(detail: Mapping[str, Any]) -> bool:
    """Whether a handler of the receiver may still be fetching the job's audio."""
    return detail.get("type") == COMPLETED and detail.get("state") == "open" and not detail.get("artifacts")


async def build_message(detail: Mapping[str, Any], link: Callable[[str, int], str]) -> Message:
    """The message about an event.

    Args:
        detail: the event's details in the API.
        link: (event's id, number of the file) to the address of an audio file.

    Raises:
        NotAStream: the details cannot be read.
    """
    module: Any = PluginFolder(BUILT_IN, "receiver_built_in").load(BUILT_IN / "_message.py")
    try:
        event = build_event(
            id=detail["id"],
            source=detail["source"],
            type=detail["type"],
            job_id=detail["job_id"],
            origin=detail["origin"],
            received_at=parse_time(detail["received_at"]),
            payload=detail["payload"],
            edited_from=detail.get("edited_from"),
        )
        files = tuple(_artifact(event.id, values, link) for values in detail["artifacts"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotAStream(f"It describes an event in a form that cannot be read: {error}.") from None
    built = await module.build_message(event, _StoredAudio(module.MessageOptions(), files))
    return Message(built.body, built.content_type, len(files))


def _artifact(event_id: str, values: Mapping[str, Any], link: Callable[[str, int], str]) -> Artifact:
    return Artifact(
        n=values["n"],
        address=values["address"],
        path=None,
        bytes=values["bytes"],
        sha256=values["sha256"],
        content_type=values["content_type"],
        format=values["format"],
        duration=values["duration_seconds"],
        sample_rate=values["sample_rate"],
        channels=values["channels"],
        _stream=_not_here,
        _link=lambda: link(event_id, values["n"]),
    )


async def _not_here() -> AsyncIterator[bytes]:
    raise NotImplementedError("The document has links only.")
    yield b""
