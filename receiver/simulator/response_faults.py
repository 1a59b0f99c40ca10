"""Faults in the responses to status and submit requests, alike for every provider."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp

from .jobs import Job
from .responses import drop_connection
from .state import SimulatorState

UNKNOWN_WORD = "WarmingUp"
UNKNOWN_NUMBER = 102
SLOW_SECONDS = 1.0
LATE_SECONDS = 5.0
GARBAGE = '{"status": "Gener'


def status_text(state: SimulatorState, word: str, *, at: str, job_id: str) -> str:
    """Return the status text to send: the word itself, with its case swapped, or an undocumented one."""
    if fault := state.injector.trigger("unknown_status", at=at, job_id=job_id):
        return fault.text(UNKNOWN_WORD)
    if state.injector.trigger("odd_case", at=at, job_id=job_id):
        return word.swapcase()
    return word


def hide_new_job(state: SimulatorState, job: Job, *, at: str) -> None:
    """Make requests for a newly submitted job get 404 for a while."""
    if fault := state.injector.trigger("late_job", at=at, job_id=job.id):
        job.visible_from = state.now() + fault.number(LATE_SECONDS)


async def delay_response(state: SimulatorState, *, at: str, job_id: str) -> None:
    """Wait before responding to a submit whose job has been created."""
    if fault := state.injector.trigger("slow_submit", at=at, job_id=job_id):
        await state.shutdown.pause(fault.number(SLOW_SECONDS))


async def apply_response_faults(state: SimulatorState, response: ASGIApp, *, at: str, job_id: str) -> ASGIApp:
    """Return the response to a status request: unchanged, delayed, lost, or not JSON."""
    injector = state.injector
    if fault := injector.trigger("slow_status", at=at, job_id=job_id):
        await state.shutdown.pause(fault.number(SLOW_SECONDS))
    if injector.trigger("lost_status", at=at, job_id=job_id):
        return drop_connection
    if fault := injector.trigger("garbage_json", at=at, job_id=job_id):
        return Response(fault.text(GARBAGE), media_type="application/json")
    return response
