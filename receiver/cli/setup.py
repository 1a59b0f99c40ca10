"""`init` writes a configuration; `check` reads one as `serve` does and prints every problem."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import Config, Only, parse_role
from receiver.cli.text_output import echo, echo_error
from receiver.durable_files import OverwritePolicy, temporary_file
from receiver.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from receiver.engine.plugins import Registry
    from receiver.model.role import Role
    from receiver.settings import Settings
    from receiver.store.database import Database

TEMPLATE = """\
# Configuration of tts-receiver. Every key can be overridden by the environment, as in
# TTS_RECEIVER_SERVER__PORT=9000, and secrets can be files in a secrets directory
# ($TTS_RECEIVER_SECRETS_DIR, default /run/secrets) named like sources__aitts__api_key.
# Relative paths start from this file's folder. What is commented out is the default.

[server]
# host = "127.0.0.1"          # put a TLS proxy in front; providers only call public https addresses
# port = 8080
# private_host = "127.0.0.1"  # the private API, /metrics, /livez, /readyz; elsewhere only with [api] tokens
# private_port = 8081
# max_body_bytes = 1048576
# max_connections = 2000      # above it, the connection that is idle longest is closed
# idle_seconds = 130          # longer than a proxy keeps an idle connection to the receiver
# trusted_proxies = []        # proxies whose X-Forwarded-For is used in the log, as in ["127.0.0.1"]
# root_path = ""              # the prefix under which a proxy serves the receiver, as in "/tts"

[store]
# url = "sqlite:///data/receiver.db"  # or postgresql://user:password@host:5432/database, for several replicas
# pooled = false              # true behind PgBouncer in transaction mode
# retention_days = 30         # finished events are deleted after this; audio files never

[audio]
# url = "data/audio"          # a folder, or s3://bucket/prefix, gs://bucket/prefix, az://container/prefix
# max_bytes = 1073741824

# Keys of the submitted metadata by which lists find events and jobs, as in `jobs list --metadata customer=acme`.
# [search]
# metadata = ["customer", "project"]

[dispatch]
# concurrency = 16

# Bearer tokens for the private API; without one only this machine can use it.
# [api]
# tokens = ["make one with: openssl rand -hex 32"]
# url = "http://tts.internal:8081"  # where your application reaches the API, if it is on another machine

# The active handlers. save_audio fetches and stores each completed job's audio, log writes a line for each event.
[handlers.save_audio]
[handlers.log]

# forward sends each event to your application, signed; `tts-receiver forward-test` shows what it sends.
# [handlers.forward]
# url = "http://127.0.0.1:9000/speech-events"
# secrets = ["whsec_..."]     # make one: echo "whsec_$(openssl rand -base64 32)"
# allow_private_addresses = true
# where = { type = "job.*" }  # only some events; more in docs/how-to/route-events.md

# Your own: every handler in the *.py files of this folder.
# [plugins]
# directory = "plugins"

[sources.aitts]
provider = "aitts"
# base_url = "https://aitts.theproductivepixel.com"
# The API key submits, polls and fetches the audio (scopes tts:generate, tts:status). An account without
# webhooks (pay-as-you-go, Pro) needs nothing else: its jobs are polled.
# api_key = "tts_..."
# For an account with webhooks (enterprise): the secret that the provider showed once when you registered
# https://YOUR-HOST/webhooks/aitts as the webhook URL. Several during a rotation: ["new", "old"].
# Without one no webhooks are received, and keys that configure them are errors.
signing_secrets = []
# Or in a file of mode 0600, one a line, which `tts-receiver webhook register` writes:
# signing_secrets_file = "secrets/aitts"
# tolerance_seconds = 300
# stale = "quarantine"        # or "reject": what to do with authentic deliveries outside the tolerance
# allow_private_addresses = false

# How jobs that are submitted or watched are polled; the same for every source, in a table of its own.
# [sources.aitts.poll]
# first_seconds = 120         # wait for the webhook; 3 without a signing secret, 0 at other providers
# min_seconds = 1
# max_seconds = 60
# deadline_seconds = 86400    # then handlers get job.failed with POLL_TIMEOUT
# requests_per_second = 1.0

# Providers without webhooks: their jobs are polled, and need an API key.
# [sources.audixa]
# provider = "audixa"
# api_key = "..."
# api_version = "v2"          # or "v3"

# [sources.finevoice]
# provider = "finevoice"
# api_key = "..."

# [sources.miragic]
# provider = "miragic"
# api_key = "..."

# Any other service, described by its fields and words: docs/how-to/receive-from-another-service.md has more.
# [sources.other]
# provider = "generic"
# base_url = "https://api.voices.example"
# api_key = "..."

# [sources.other.generic]
# status_url = "/v1/jobs/{job_id}"
# status = "job.state"
# completed_words = ["completed"]
# failed_words = ["failed"]
# audio_url = "job.audio_url"
"""


def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("receiver.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented configuration to start from, readable by you alone."""
    try:
        _write_template(file, OverwritePolicy.REPLACE if force else OverwritePolicy.REFUSE)
    except FileExistsError:
        raise ConfigError([ConfigProblem(str(file), "already exists; --force replaces it")]) from None
    except OSError as error:
        raise ConfigError([ConfigProblem(str(file), f"cannot be written: {error.strerror}")]) from None
    echo(
        f"Wrote {file}. Next: add the API key, and the signing secret if the account has webhooks; then "
        "`tts-receiver check`."
    )


def _write_template(file: Path, policy: OverwritePolicy) -> None:
    """Publish the template. A link is followed: its target is replaced, and keeps its owner."""
    if policy is OverwritePolicy.REPLACE:
        file = Path(os.path.realpath(file))
    found = file.stat() if file.exists() else None
    if found is not None and policy is OverwritePolicy.REPLACE and not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file")
    with temporary_file(file, 0o600) as new:
        if found is not None:
            new.set_owner(found.st_uid, found.st_gid)
        new.append(TEMPLATE.encode())
        new.publish(policy)


def check(
    config: Config = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read the whole store to look for damage.")] = False,
    only: Only = None,
) -> None:
    """Read the configuration as `serve` would and print every problem at once."""
    role = parse_role(only)
    from receiver.assembly.resources import open_database
    from receiver.cli.store_check import check_audio, check_deeply, check_sharing, check_store
    from receiver.engine.plugins import load_registry
    from receiver.settings import load_partial
    from receiver.settings.exposure import exposed_secrets
    from receiver.settings.guessable import guessable_secrets
    from receiver.settings.private import require_private

    settings, problems = load_partial(config)
    for warning in (*exposed_secrets(config), *guessable_secrets(settings)):
        echo_error(f"! {warning}")
    try:
        require_private(settings)
    except ConfigError as error:
        problems += error.problems
    problems += _check_keys(settings, time.time())
    registry: Registry | None = None
    try:
        registry = load_registry(settings)
    except ConfigError as error:
        problems += _without_consequences(error.problems, settings, problems)
    database: Database | None = None
    try:
        if role.works:
            problems += check_audio(settings)
        database = open_database(settings)
        problems += check_store(database)
        if role.works and not problems:
            problems += check_sharing(settings, database)
        if deep:
            problems += [problem for problem in check_deeply(database) if problem not in problems]
    except ConfigError as error:
        problems += error.problems
    if problems:
        for problem in problems:
            echo_error(f"✗ {problem}")
        echo_error(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}.")
        raise typer.Exit(1)
    if registry is not None and database is not None:
        _print_summary(settings, role, registry, database)


def _without_consequences(
    found: Sequence[ConfigProblem], settings: Settings, reported: Sequence[ConfigProblem]
) -> list[ConfigProblem]:
    """The handlers' problems, without unknown sources in `where` if the table of a source could not be used itself."""
    tables = {problem.where.split(".")[1] for problem in reported if problem.where.startswith("sources.")}
    is_complete = tables <= settings.sources.keys()
    return [problem for problem in found if is_complete or not problem.where.endswith(".where.source")]


def _check_keys(settings: Settings, now: float) -> list[ConfigProblem]:
    return [
        ConfigProblem(
            f"sources.{name}.signing_secrets", "none is valid now (not_before, not_after): every delivery is refused"
        )
        for name, source in settings.sources.items()
        if source.receives_webhooks and not any(key.active(now) for key in source.signing_keys())
    ]


def _print_summary(settings: Settings, role: Role, registry: Registry, database: Database) -> None:
    from receiver.cli.store_check import audio_notes, count_waiting, space_note, store_note
    from receiver.engine.handler_options import target_of
    from receiver.engine.key_notes import key_notes, signature_notes
    from receiver.engine.routing import doubtful_types
    from receiver.model.event import OUR_TYPES
    from receiver.store import views
    from receiver.store.migrate import revision

    found = database.query(revision) if database.exists() else None
    uses = database.query(views.key_uses) if found is not None else {}
    risks = database.durability_risks() if found is not None else []
    waiting = count_waiting(database)  # before the first line, so that no error follows a success
    echo("✓ The configuration can be used.")
    echo(f"  store    {database.location}{store_note(found)}")
    for risk in risks:
        echo(f"           ! {risk}")
    if database.folder is not None:
        echo(f"           {space_note(database.folder)}")
    if role.works:
        for note in audio_notes(settings):
            echo(note)
    if waiting:
        echo(f"           ! runs that wait for the audio storage: {waiting}")
    for name, active in registry.active.items():
        echo(f"  handler  {name} ({active.loaded_from})")
        if (target := target_of(active.options)) is not None:
            echo(f"           sends to {target}")
        if active.handler.where:
            echo(f"           where {'; '.join(map(str, active.handler.where))}")
        for type_ in doubtful_types(active.handler.where):
            echo(f"           ! no built-in provider has events of the type {type_!r}, only {', '.join(OUR_TYPES)}")
    if role.works:
        _print_slots(settings.dispatch.concurrency, registry)
    if not registry.active:
        echo("  ! no handler is active: events are stored, but not handled")
    for name, source in settings.sources.items():
        intake = f"POST {settings.webhook_path(name)}" if source.receives_webhooks else "polled"
        echo(f"  source   {name}: {intake}, {source.provider_name}{f' at {source.origin}' if source.origin else ''}")
        for note in signature_notes(source):
            echo(f"           {note}")
        if source.api_key is None:
            echo("           ! no api_key: audio can only be fetched from a temporary audio_url, if there is one")
        for note in key_notes(name, source, uses, time.time()):
            echo(f"           {note}")
    if settings.console.enabled:
        _print_console(settings)


def _print_console(settings: Settings) -> None:
    """Print where the console is, and who may log in."""
    server = settings.server
    host = f"[{server.private_host}]" if ":" in server.private_host else server.private_host
    echo(f"  console  http://{host}:{server.private_port}{server.root_path}/console")
    for name, user in settings.console.users.items():
        echo(f"           user {name}, {user.role}")
    for token in settings.api.tokens:
        echo(f"           token {token.id}, {token.role}")
    if not settings.has_credentials:
        echo("           without a login: no token and no user is configured")


def _print_slots(concurrency: int, registry: Registry) -> None:
    """Print how handlers share `dispatch.concurrency`."""
    slots = registry.slots(concurrency)
    if not slots.reserved:
        return
    echo(f"  slots    {slots.total} runs at one time; reserved for each handler, and its maximum:")
    for name, reserved in slots.reserved.items():
        echo(f"           {name} {reserved}–{slots.limits[name]}")
    if slots.cluster:
        bounds = ", ".join(f"{name} {bound}" for name, bound in slots.cluster.items())
        echo(f"           maximum in all processes together: {bounds}")
    if slots.total > concurrency:
        echo(f"           ! dispatch.concurrency is {concurrency}: each handler still gets one")
