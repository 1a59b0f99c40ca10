"""Write one log line per event: the simplest way to see what is received."""

from __future__ import annotations

from receiver import Context, Event, JobFailed, handler


@handler(on=Event, attempts=1)
async def log(event: Event, ctx: Context[None]) -> None:
    """Log the event; a failed job with the provider's error code and message."""
    if isinstance(event, JobFailed):
        ctx.log.warning(event.type, code=event.code, detail=event.message)
    else:
        ctx.log.info(event.type, origin=str(event.origin))
