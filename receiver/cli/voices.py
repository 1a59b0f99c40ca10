"""`voices`: which voices a source's provider offers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from receiver.cli.asking import AskError, answer_to, trouble_with
from receiver.cli.options import Config, Json
from receiver.cli.output import print_json, print_table
from receiver.errors import NotFound, ReceiverError
from receiver.providers.wire import Voice, VoiceQuery
from receiver.settings import Source, load

_COLUMNS = ("id", "name", "language", "gender", "model")


def voices(
    source: Annotated[str, typer.Option("--source", help="The configured source.")],
    config: Config = None,
    language: Annotated[str | None, typer.Option(help="Only in this language, such as en-US.")] = None,
    gender: Annotated[str | None, typer.Option(help="Only of this gender, in the provider's word.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model, in the provider's word.")] = None,
    json: Json = False,
) -> None:
    """Ask the provider for its voices; where it has no list to ask for, show the documented ones."""
    about = load(config).source(source)
    able = about.spoken.capabilities.of(about.account)
    query = VoiceQuery(language=language, gender=gender, model=model)
    note = None
    if able.voices:
        found = _asked(source, about, query)
    elif able.known_voices:
        if query != VoiceQuery():
            raise NotFound(
                f"{about.provider} has no list of voices to ask for, and nothing is known of the documented ones but "
                "their names: leave --language, --gender and --model out."
            )
        found = [Voice(id=known) for known in able.known_voices]
        note = f"{about.provider} has no list to ask for; these are documented, and there may be more."
    else:
        raise NotFound(
            f"{about.provider} has no list of voices that can be asked for, and none is documented; "
            "look for them on the service's own pages."
        )
    if json:
        print_json([_plain(voice) for voice in found])
    else:
        columns = [name for name in _COLUMNS if name == "id" or any(getattr(voice, name) for voice in found)]
        rows = [[getattr(voice, name) for name in columns] for voice in found]
        print_table(f"Voices of {source}: {len(found)}", columns, rows)
    if note:
        typer.echo(note, err=True)


def _asked(name: str, source: Source, query: VoiceQuery) -> list[Voice]:
    account = source.account
    if account.api_key is None:
        raise AskError(f"The source {name} has no api_key, and {source.provider} tells its voices to customers only.")
    try:
        return source.spoken.read_voices(account, answer_to(source, source.spoken.voices_request(account, query)))
    except ReceiverError as error:
        raise AskError(str(trouble_with(name, source, error))) from error


def _plain(voice: Voice) -> dict[str, Any]:
    return {name: getattr(voice, name) for name in _COLUMNS} | {"details": dict(voice.details)}
