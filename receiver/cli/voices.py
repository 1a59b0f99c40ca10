"""`voices`: the voices of a source's provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import Config, Csv, Json
from receiver.cli.text_output import echo_error
from receiver.errors import ReceiverError

if TYPE_CHECKING:
    from receiver.cli.lists import Listing
    from receiver.model.redact import Redactor
    from receiver.providers.types import Voice

_FIELDS = ("id", "name", "language", "gender", "model")
_DETAILS = ("provider", "tier")
"""Details with a column of their own, named as by the `aitts` service."""
_FEATURES = {"ssml": "supports_ssml", "multi": "supports_multispeaker"}
"""Features of a voice, and the detail for each."""


def voices(
    source: Annotated[str, typer.Option("--source", help="The configured source.")],
    config: Config = None,
    language: Annotated[str | None, typer.Option(help="Only in this language, such as en-US.")] = None,
    gender: Annotated[str | None, typer.Option(help="Only of this gender, in the provider's word.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model, in the provider's word.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="Only voices of this provider, where the service offers others' voices.")
    ] = None,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """List the provider's voices, or the documented ones if the provider has no list."""
    from receiver.cli.lists import list_format, print_rows
    from receiver.cli.provider_request import ProviderRequestError, fetch_response, request_failure
    from receiver.model.redact import Redactor
    from receiver.providers.types import VoiceQuery
    from receiver.providers.voice_list import VoicesCall, find_voices
    from receiver.settings import load

    format = list_format(json, csv)
    settings = load(config)
    source_settings = settings.source(source)
    query = VoiceQuery(language=language, gender=gender, model=model, provider=provider)
    note = None
    try:
        found = find_voices(
            source, source_settings.provider, source_settings.account, query, source_settings.voice_list
        )
        if isinstance(found, VoicesCall):
            found = found.read(fetch_response(source_settings, found.request))
        else:
            name = source_settings.provider_name
            note = f"{name} has no list of voices; these are documented, and there may be more."
    except ReceiverError as error:
        raise ProviderRequestError(str(request_failure(source, source_settings, error))) from error
    print_rows(voices_listing(source, found, Redactor(settings.secrets())), found, format)
    if note:
        echo_error(note)


def voices_listing(source: str, voices: Sequence[Voice], redact: Redactor) -> Listing:
    """The list, without columns that are empty for every voice."""
    from receiver.cli.lists import Listing
    from receiver.cli.table_layout import Column
    from receiver.web.api.models import Voice as Item
    from receiver.web.api.rows import voice_of

    def cell(name: str) -> Callable[[Voice], str | None]:
        return lambda voice: _table_row(voice)[name]

    ranks = {"id": 0, "name": 2, "language": 1, "gender": 3, "model": 3, "provider": 2, "tier": 4, "can": 4}
    rows = [_table_row(voice) for voice in voices]
    columns = [
        Column(name, cell(name), rank, None if name == "id" else 8)
        for name, rank in ranks.items()
        if not rank or any(row[name] for row in rows)
    ]
    return Listing(
        f"Voices of {source}",
        columns,
        Item,
        lambda voice: voice_of(voice, redact),
    )


def _table_row(voice: Voice) -> dict[str, str | None]:
    """A voice's cells in the table."""
    from receiver.providers.base import usable_word

    row = {name: getattr(voice, name) for name in _FIELDS}
    row |= {name: usable_word(voice.details.get(name)) for name in _DETAILS}
    features = [word for word, detail in _FEATURES.items() if voice.details.get(detail) is True]
    return row | {"can": ", ".join(features) or None}
