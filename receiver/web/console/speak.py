"""Synthesizing a line of text: a form, then the page of the job, which plays the audio once it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from receiver.web.api.problems import ProblemError
from receiver.web.api.setup import list_sources
from receiver.web.api.setup_models import ConfiguredSource
from receiver.web.api.speech import speak
from receiver.web.api.voices import list_voices
from receiver.web.console.forms import correctable, key_of, new_key, require_operator, value_of
from receiver.web.console.pages import KeptVoices, Page, named_fields

MAX_CHARACTERS = 5000
"""Of the text in this form; longer ones are for the API and the command."""
MAX_VOICES = 2000
VOICES_SECONDS = 600.0
WAIT_SECONDS = 4.0
"""How long the page waits for a list; it can be used without one."""
FIELDS = ("text", "voice", "format")
NOT_VALID = "Nothing was submitted. Correct what is marked."
"""The headline if the form shows at its fields what is wrong."""


async def speak_page(page: Page) -> Response:
    """The form."""
    require_operator(page.viewer)
    sources = await _sources(page)
    wanted = page.query_value("source") or next((of.name for of in sources), "")
    values = {name: page.query_value(name) for name in FIELDS}
    return await _show(page, sources, wanted, values, new_key(page))


async def submit_speech(page: Page) -> Response:
    """Submit the text and go to the job; the form again, with all that was typed, if the service refuses it."""
    require_operator(page.viewer)
    source = value_of(page, "source")
    values = {name: value_of(page, name) for name in FIELDS}
    values["text"] = values["text"].replace("\r\n", "\n")
    body = {"source": source, **{name: value for name, value in values.items() if value or name != "format"}}
    try:
        job = await page.change(speak, body, headers=key_of(page))
    except ProblemError as error:
        problem = correctable(error)
    else:
        return page.redirect(f"/jobs/{job.id}", [("play", "1")])
    return await _show(page, await _sources(page), source, values, new_key(page), problem)


async def _sources(page: Page) -> list[ConfiguredSource]:
    """Those that have an API key."""
    return [source for source in (await page.read(list_sources)).items if source.api_key]


async def _show(
    page: Page,
    sources: Sequence[ConfiguredSource],
    wanted: str,
    values: dict[str, str],
    key: str,
    problem: ProblemError | None = None,
) -> Response:
    source = next((source for source in sources if source.name == wanted), None)
    voices, no_voices = ([], "") if source is None else await _voices(page, source.name)
    redact = page.console.context.redact
    errors = {} if problem is None else {of.where: of.what for of in named_fields(problem.errors)}
    return await page.render(
        "speak.html",
        200 if problem is None else problem.status,
        sources=sources,
        source=source,
        formats=[] if source is None else source.capabilities["formats"],
        voices=voices[:MAX_VOICES],
        no_voices=redact(no_voices),
        values=values,
        key=key,
        max_characters=MAX_CHARACTERS,
        problem=None if problem is None else NOT_VALID if errors and {*errors} <= {*FIELDS} else redact(str(problem)),
        errors=errors,
        job=None if problem is None else problem.extensions.get("job"),
    )


async def _voices(page: Page, source: str) -> tuple[list[Any], str]:
    """The voices of a source, or why there is no list; any id can be typed then.

    A list is kept for a while: each request for one takes a turn of the source's rate limit from its jobs.
    """
    now = page.console.context.clock.now()
    kept = page.console.voices.get(source)
    if kept is not None and abs(now - kept.at) < VOICES_SECONDS:
        return kept.items, ""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            items = (await page.read(list_voices, [("source", source)])).items
    except TimeoutError:
        return [], f"the service did not answer within {WAIT_SECONDS:g} s."
    except ProblemError as error:
        return [], str(error)
    page.console.voices[source] = KeptVoices(now, items)
    return items, ""
