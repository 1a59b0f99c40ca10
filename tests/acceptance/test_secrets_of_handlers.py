"""Secrets in a handler's options appear in no log line, no stored error and no output of a command."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.support import Site, completed, deliver

HEADER, FIRST, SECOND = "Bearer-0123456789abcdef", "whsec_first_hunter2_hunter2", "whsec_second_hunter2_hunter2"

TELLS = """
import logging

from pydantic import BaseModel, SecretStr, field_validator

from receiver import Context, JobCompleted, handler


class Options(BaseModel):
    headers: dict[str, SecretStr]
    secrets: list[SecretStr]


@handler(on=JobCompleted, options=Options, attempts=1)
async def tells(event: JobCompleted, ctx: Context[Options]) -> None:
    known = [secret.get_secret_value() for secret in [*ctx.options.headers.values(), *ctx.options.secrets]]
    ctx.log.warning("tells.all", known=known)
    logging.getLogger("tells").error("all: %s", " ".join(known))
    raise RuntimeError(f"refused: {known}")
"""


QUOTES = """
    @field_validator("secrets", mode="before")
    @classmethod
    def _refused(cls, value):
        raise ValueError(f"not these: {value}")
"""


def test_no_line_no_error_and_no_output_shows_a_secret_of_a_handlers_options(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")  # of its own: the handler's traceback belongs into the log
    try:
        _uses_secrets(site)
    finally:
        site.close()
    for secret in (HEADER, FIRST, SECOND):
        assert secret not in site.everything_written()


def _uses_secrets(site: Site) -> None:
    site.plugin("tells", TELLS)
    site.configure(
        '[plugins]\ndirectory = "plugins"', handlers=f'[handlers.tells]\nheaders = {{authorization = "{HEADER}"}}'
    )
    (site.folder / "secrets").mkdir()
    (site.folder / "secrets" / "handlers__tells__secrets").write_text(f"{FIRST}\n{SECOND}\n")
    given = {"TTS_RECEIVER_SECRETS_DIR": str(site.folder / "secrets")}
    server = site.start(**given)
    answer = deliver(server.public, completed("job-1"))
    assert answer is not None
    run = site.wait_for_state(answer[1]["event"], "tells", "dead")
    server.wait_for("run.dead")
    assert server.stop() == 0
    assert run["error"] == "RuntimeError: refused: ['[redacted]', '[redacted]', '[redacted]']"
    assert server.wait_for("tells.all")["known"] == ["[redacted]"] * 3
    assert "all: [redacted] [redacted] [redacted]" in server.text()

    site.plugin("tells", TELLS.replace("    secrets: list[SecretStr]\n", "    secrets: list[SecretStr]\n" + QUOTES))
    for words in (["check"], ["handlers", "list"], ["handlers", "list", "--json"]):
        shown = site.command(*words, **given)
        assert shown.returncode > 0
        assert "not these: [redacted]" in shown.stderr


def test_a_start_warns_of_a_secret_that_is_part_of_a_name_without_showing_it(site: Site) -> None:
    server = site.configure(api_key="uncommonly", handlers='[handlers.uncommonly_named]\nuse = "log"').start()
    assert server.stop() == 0
    [line] = server.lines("config.guessable_secret")
    assert (line["level"], line["key"]) == ("warning", "sources.aitts.api_key")
    assert "uncommonly" not in server.log.read_text()
