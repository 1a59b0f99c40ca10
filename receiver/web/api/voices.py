"""The voices that a service offers, requested from the service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from receiver.errors import OutboundError
from receiver.providers.types import Invalid, ProviderError, RateLimited, VoiceQuery
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import RequestModel, ShortText, SourceName
from receiver.web.api.jobs import require_source
from receiver.web.api.models import VoiceList
from receiver.web.api.operations import ApiResponse
from receiver.web.api.problems import ProblemError
from receiver.web.api.rows import voice_of


class VoicesQuery(RequestModel):
    """Which voices, in the service's own terms."""

    source: Annotated[SourceName, Field(description="The configured source.")]
    language: ShortText | None = None
    gender: ShortText | None = None
    model: ShortText | None = None
    provider: Annotated[
        ShortText | None,
        Field(description="For a service that offers voices of other services: whose, such as `google`."),
    ] = None


async def list_voices(context: ApiContext, query: VoicesQuery) -> ApiResponse:
    """Each request asks the service. 422 if it has no list of voices, or does not support a filter."""
    require_source(context, query.source)
    filters = VoiceQuery(language=query.language, gender=query.gender, model=query.model, provider=query.provider)
    try:
        found = await context.voices(query.source, filters)
    except Invalid as error:
        raise ProblemError(422, str(error), reason=error.reason) from None
    except RateLimited as error:
        wait = {"Retry-After": str(max(1, round(error.retry_after)))} if error.retry_after else {}
        raise ProblemError(429, str(error), reason=error.reason, headers=wait) from None
    except (ProviderError, OutboundError) as error:
        raise ProblemError(502, str(error), reason=error.reason) from None
    return ApiResponse(200, VoiceList(items=[voice_of(voice, context.redact) for voice in found]))
