"""What may go wrong with the answer to a status request or a submit, the same for every provider."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp

from .jobs import Job
from .replies import no_reply
from .world import World

UNKNOWN_WORD = "WarmingUp"
UNKNOWN_NUMBER = 102
SLOW_SECONDS = 1.0
LATE_SECONDS = 5.0
GARBAGE = '{"status": "Gener'


def spoken(world: World, word: str, *, at: str, job_id: str) -> str:
    """The status word as it goes out: itself, in the other letter case, or one nobody documented."""
    if hit := world.dice.roll("unknown_status", at=at, job_id=job_id):
        return hit.text(UNKNOWN_WORD)
    if world.dice.roll("odd_case", at=at, job_id=job_id):
        return word.swapcase()
    return word


def lately(world: World, job: Job, *, at: str) -> None:
    """Let the job of a submit be unknown for a while."""
    if hit := world.dice.roll("late_job", at=at, job_id=job.id):
        job.known_from = world.now() + hit.number(LATE_SECONDS)


async def slowly(world: World, *, at: str, job_id: str) -> None:
    """Wait before the answer to a submit whose job is made."""
    if hit := world.dice.roll("slow_submit", at=at, job_id=job_id):
        await world.closing.pause(hit.number(SLOW_SECONDS))


async def disturbed(world: World, answer: ASGIApp, *, at: str, job_id: str) -> ASGIApp:
    """The answer to a status request: as it is, late, lost, or no JSON."""
    dice = world.dice
    if hit := dice.roll("slow_status", at=at, job_id=job_id):
        await world.closing.pause(hit.number(SLOW_SECONDS))
    if dice.roll("lost_status", at=at, job_id=job_id):
        return no_reply
    if hit := dice.roll("garbage_json", at=at, job_id=job_id):
        return Response(hit.text(GARBAGE), media_type="application/json")
    return answer
