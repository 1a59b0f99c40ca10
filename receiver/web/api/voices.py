"""The voices that a service offers, asked for there."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from receiver.errors import OutboundError
from receiver.providers.types import Invalid, ProviderError, RateLimited, VoiceQuery
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import Incoming, SourceName, Word
from receiver.web.api.jobs import require_source
from receiver.web.api.models import Voice, VoiceList
from receiver.web.api.operations import Reply
from receiver.web.api.problems import Refusal
from receiver.web.api.redaction import shown


class VoicesQuery(Incoming):
    """Which voices, in the service's own words."""

    source: Annotated[SourceName, Field(description="The configured source to ask.")]
    language: Word | None = None
    gender: Word | None = None
    model: Word | None = None
    provider: Annotated[
        Word | None, Field(description="Whose voices, for a service that offers those of others, such as `google`.")
    ] = None


async def list_voices(context: ApiContext, query: VoicesQuery) -> Reply:
    """Asks the service each time. Where it has no list, or does not take a filter, that is answered 422."""
    require_source(context, query.source)
    which = VoiceQuery(language=query.language, gender=query.gender, model=query.model, provider=query.provider)
    try:
        found = await context.voices(query.source, which)
    except Invalid as error:
        raise Refusal(422, str(error), reason=error.reason) from None
    except RateLimited as error:
        wait = {"Retry-After": str(max(1, round(error.retry_after)))} if error.retry_after else {}
        raise Refusal(429, str(error), reason=error.reason, headers=wait) from None
    except (ProviderError, OutboundError) as error:
        raise Refusal(502, str(error), reason=error.reason) from None
    return Reply(
        200,
        VoiceList(
            items=[
                Voice(
                    id=voice.id,
                    name=voice.name,
                    language=voice.language,
                    gender=voice.gender,
                    model=voice.model,
                    details=shown(dict(voice.details), context.redact),
                )
                for voice in found
            ]
        ),
    )
