"""Lifespans of handlers over the life of a real receiver: entered at the first run, exited at SIGTERM."""

from __future__ import annotations

from tests.acceptance.support import Site, completed, deliver

CONNECTS = """
import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel

from receiver import Context, JobCompleted, RetryLater, handler

NOTES = Path(__file__).parent.parent / "notes"


def note(what: str) -> None:
    with NOTES.open("a") as file:
        file.write(f"{what}\\n")


class Options(BaseModel):
    at: str


@asynccontextmanager
async def connect(options: Options):
    note(f"enter {options.at}")
    if options.at == "flaky" and NOTES.read_text().count("enter flaky") == 1:
        raise RetryLater("no broker yet", after=0)
    yield f"connection to {options.at}"
    note(f"exit {options.at}")
    if options.at == "hangs":
        await asyncio.Event().wait()


@handler(on=JobCompleted, name="connects", options=Options, lifespan=connect)
async def connects(event: JobCompleted, ctx: Context[Options, str]) -> str:
    return ctx.state


@handler(on=JobCompleted, name="hangs", options=Options, lifespan=connect)
async def hangs(event: JobCompleted, ctx: Context[Options, str]) -> str:
    return ctx.state
"""


def test_lifespans_are_entered_when_needed_and_exited_at_sigterm_and_none_holds_up_the_stop(site: Site) -> None:
    site.plugin("connects", CONNECTS)
    site.configure(
        '[plugins]\ndirectory = "plugins"',
        handlers='[handlers.connects]\nat = "good"\n[handlers.hangs]\nat = "hangs"\n'
        '[handlers.flaky]\nuse = "connects"\nat = "flaky"',
    )
    server = site.start()
    notes = site.folder / "notes"
    assert not notes.exists(), "nothing is entered before its first run"
    answer = deliver(server.public, completed("job-1"))
    assert answer is not None
    for name, at in {"connects": "good", "hangs": "hangs", "flaky": "flaky"}.items():
        run = site.wait_for_state(answer[1]["event"], name, "succeeded")
        assert run["result"] == f"connection to {at}"
    [failed] = server.lines("run.failed")
    assert (failed["handler"], failed["error"], run["attempt"]) == ("flaky", "no broker yet", 2)
    entered = notes.read_text().splitlines()
    assert sorted(entered) == ["enter flaky", "enter flaky", "enter good", "enter hangs"]

    assert server.stop() == 0

    assert sorted(notes.read_text().splitlines()[len(entered) :]) == ["exit flaky", "exit good", "exit hangs"]
    [line] = server.lines("handler.lifespan_not_exited")
    assert (line["handler"], line["detail"]) == ("hangs", "not done after 5 s")
    assert list(server.lines("receiver.stopped"))
