"""One log line for every event: the simplest way to see what comes in."""

from __future__ import annotations

from receiver import Context, Event, JobFailed, handler


@handler(on=Event, attempts=1)
async def log(event: Event, ctx: Context[None]) -> None:
    """Write the line; a failed job's with the provider's code and words."""
    if isinstance(event, JobFailed):
        ctx.log.warning(event.type, code=event.code, detail=event.message)
    else:
        ctx.log.info(event.type, origin=str(event.origin))
