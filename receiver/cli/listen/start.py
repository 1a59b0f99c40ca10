"""Prepares a run of `listen`: the token, the secret, the lock, and where it begins."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from random import Random

from receiver.cli.api_access import read_token
from receiver.cli.listen import lines
from receiver.cli.listen.gap import is_event, position_at
from receiver.cli.listen.remote import Remote
from receiver.cli.listen.session import Options, Session
from receiver.cli.listen.state import SECRET_NAME, Progress, kept_secret, open_state, state_folder
from receiver.cli.listen.target import Target, read_secrets
from receiver.cli.listen.variables import TOKEN_VARIABLE
from receiver.clock import SystemClock
from receiver.model.metadata import Pair
from receiver.model.timestamps import utc_text


@dataclass(frozen=True, slots=True)
class Request:
    """The command's options, checked. `since` is in unix seconds; the others are those of `listen`."""

    api: str
    forward: str
    token_file: Path | None = None
    since: float | None = None
    reset: bool = False
    source: str | None = None
    type: str | None = None
    metadata: Collection[Pair] = ()
    skip: Collection[str] = ()
    secret_file: Path | None = None


async def run(request: Request) -> None:
    """Run until it is stopped.

    Raises:
        ReceiverError: it cannot start, or cannot go on.
    """
    clock = SystemClock()
    token = read_token(request.token_file, TOKEN_VARIABLE)
    folder = state_folder(os.environ)
    if request.secret_file is None:
        secrets = [kept_secret(folder)]
        secret = [secrets[0], f"kept in {folder / SECRET_NAME}"]
    else:
        secrets = read_secrets(request.secret_file)
        secret = [f"of {request.secret_file}"]
    with open_state(folder, request.api, request.forward) as state:
        kept = None if request.reset else state.read()
        progress = kept
        if kept is None and request.since is not None:
            progress = Progress(position_at(request.since), request.since)
            state.write(progress)
        introduction = lines.Introduction(
            request.api, request.forward, secret, _begins(progress, kept is not None, request.since is not None)
        )
        session = Session(
            Remote(request.api, token),
            Target(request.forward, secrets, clock),
            state,
            progress,
            Options(request.source, request.type, request.metadata, request.skip),
            clock=clock,
            rng=Random(),  # noqa: S311 - waits are no secret
        )
        await session.run(introduction)


def _begins(progress: Progress | None, resumes: bool, since_given: bool) -> str:
    if progress is None:
        return "from now on"
    if not resumes:
        return f"since {utc_text(progress.complete_until)}"
    where = lines.resumes_after(progress.position, progress.complete_until, is_event=is_event(progress.position))
    return f"{where}, where it stopped" + (" (--since needs --reset)" if since_given else "")
