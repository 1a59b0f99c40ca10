"""The documentation is true: what it lists is what the code has, both ways."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from handlers._forward_options import ForwardOptions
from handlers._message import MessageOptions
from receiver import settings
from receiver.cli.commands import COMMANDS, build
from receiver.logs.rate_limiter import RATE_LIMITED
from receiver.metrics import Metrics
from receiver.providers import PROVIDERS
from receiver.providers.protocols import Provider, VersionedProvider, describe_capabilities
from receiver.providers.types import ProviderError
from receiver.web.intake import STORED

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

TABLES: dict[str, type[BaseModel]] = {
    "[server]": settings.Server,
    "[store]": settings.Store,
    "[audio]": settings.Audio,
    "[dispatch]": settings.Dispatch,
    "[plugins]": settings.Plugins,
    "[logs]": settings.Logs,
    "[search]": settings.Search,
    "[api]": settings.Api,
    "[[api.tokens]]": settings.ApiToken,
    "[console]": settings.Console,
    "[console.users.NAME]": settings.ConsoleUser,
    "[sources.NAME.generic]": settings.GenericTable,
    "[sources.NAME.signature]": settings.SignatureTable,
    "[handlers.NAME]": settings.HandlerSettings,
    "[handlers.NAME.tls]": settings.HandlerTls,
    "[sources.NAME]": settings.Source,
    "[sources.NAME.poll]": settings.Poll,
    "[[sources.NAME.signing_secrets]]": settings.SigningSecret,
}

OPTIONS: dict[str, type[BaseModel]] = {
    "Options of forward": ForwardOptions,
    "Options of messages": MessageOptions,
}
"""The options of built-in handlers. What one inherits from another is on the page once."""

OUTCOMES = {"too_large", "too_slow", "no_room", "sender_gone"}
"""Outcomes of a delivery whose body was not taken: of an exception that never leaves the intake."""

OF_A_JOB = {"submit_lost", "submit_timeout", "same_job"}
"""Why a job ended without an answer that says so: of no exception."""


def first_cells(page: Path) -> list[str]:
    """What stands in code marks in the first cell of each table row."""
    return re.findall(r"^\| `([^`]+)` \|", page.read_text(), re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language."""
    found: list[str] = re.findall(rf"^ *```{language}\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return found


def trees() -> Iterator[tuple[Path, ast.AST]]:
    """The receiver's modules, without the simulator, and the built-in handlers."""
    for file in sorted([*(ROOT / "receiver").rglob("*.py"), *(ROOT / "handlers").glob("*.py")]):
        if "simulator" not in file.relative_to(ROOT).parts:
            yield file, ast.parse(file.read_text())


def texts(node: ast.AST) -> set[str]:
    return {item.value for item in ast.walk(node) if isinstance(item, ast.Constant) and isinstance(item.value, str)}


# the configuration


def documented_keys() -> dict[str, dict[str, str]]:
    """Heading of the table to key to the text of its default."""
    found: dict[str, dict[str, str]] = {}
    for section in (REFERENCE / "configuration.md").read_text().split("\n## ")[1:]:
        heading = section.partition("\n")[0].strip("`")
        if heading in {*TABLES, *OPTIONS}:
            rows = re.findall(r"^\| `(\w+)` \| .*? \| ([^|]+) \| .*\|$", section, re.MULTILINE)
            found[heading] = {key: default.strip() for key, default in rows}
    return found


def written(default: Any) -> str:
    """A default as the page writes it."""
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "none"
    if isinstance(default, BaseModel):
        return "see below"
    value = list(default) if isinstance(default, tuple | frozenset) else default
    return f"`{json.dumps(value)}`"


def test_every_key_of_the_configuration_is_documented_with_its_default_and_no_other() -> None:
    wanted = {
        heading: {
            field.alias or name: written(field.default)
            for name, field in model.model_fields.items()
            if name in model.__annotations__
        }
        for heading, model in (TABLES | OPTIONS).items()
    }
    assert documented_keys() == wanted


def test_no_table_of_the_configuration_is_left_out() -> None:
    assert {heading.strip("[]").partition(".")[0] for heading in TABLES} == set(settings.TABLES)


def test_every_provider_is_named() -> None:
    row = next(line for line in (REFERENCE / "configuration.md").read_text().splitlines() if "| `provider` |" in line)
    assert set(re.findall(r"`(\w+)`", row.split("|")[2])) == set(PROVIDERS)


def columns() -> dict[str, Provider]:
    """The provider of each column of the capability table, by its heading."""
    found: dict[str, Provider] = {}
    for name, provider in PROVIDERS.items():
        if isinstance(provider, VersionedProvider):
            found |= {f"`{name}` `{version}`": of for version, of in provider.versions.items()}
        else:
            found[f"`{name}`"] = provider
    return found


def as_text(value: Any) -> str:
    """A capability as the page writes it."""
    if isinstance(value, bool) or value in (None, ()):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        groups: dict[Any, list[str]] = {}
        for name, of in value.items():
            groups.setdefault(of, []).append(name or "none named")
        return "; ".join(f"{', '.join(names)}: {as_text(of)}" for of, names in groups.items()) or "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


def test_every_capability_is_documented_as_it_is_and_no_other() -> None:
    section = (REFERENCE / "providers.md").read_text().partition("\n## What each can do\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    shown = {row[0].strip("`"): dict(zip(rows[0][1:-1], row[1:-1], strict=True)) for row in rows[2:]}
    wanted = {head: describe_capabilities(provider) for head, provider in columns().items()}
    names = next(iter(wanted.values()))
    assert shown == {name: {head: as_text(values[name]) for head, values in wanted.items()} for name in names}


def test_the_outcome_of_every_error_of_a_provider_is_documented() -> None:
    section = (REFERENCE / "providers.md").read_text().partition("\n## What an error means\n")[2]
    assert {kind.reason for kind in ProviderError.__subclasses__()} <= set(re.findall(r"`(provider_\w+)`", section))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_configuration_that_is_shown_can_be_used(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TTS_RECEIVER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TTS_RECEIVER_SECRETS_DIR", str(tmp_path))
    for number, block in enumerate(blocks(page, "toml")):
        given = tomllib.loads(block)
        if "sources" not in given:  # a piece of a file: complete it
            block += '\n[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["completed_0123456789"]\n'
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        settings.load(file)


# commands, metrics, messages, reasons


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command that does something, with its group."""
    inner = getattr(command, "commands", None)
    if not inner:
        yield " ".join(path)
        return
    for name, item in inner.items():
        yield from commands(item, (*path, name))


def command_line() -> Any:
    """The whole command line, every command loaded."""
    group: Any = typer.main.get_command(build())
    for name in COMMANDS:
        group.load(name)
    return group


def test_every_command_is_documented_and_no_other() -> None:
    page = (REFERENCE / "cli.md").read_text()
    shown = re.findall(r"^\| `tts-receiver ([^`]+)` \|", page, re.MULTILINE)
    named = {" ".join(word for word in text.partition(" -")[0].split() if word.islower()) for text in shown}
    assert named == set(commands(command_line()))


def test_every_option_that_a_page_shows_is_one_of_its_command() -> None:
    def options(command: Any) -> set[str]:
        own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        return own.union({"-h", "--help"}, *(options(item) for item in getattr(command, "commands", {}).values()))

    known = options(command_line())
    for page in PAGES:
        for line in re.findall(r"tts-receiver [^`\n#|>]*", page.read_text()):
            used = set(re.findall(r"(?<= )--?[a-z][a-z-]*", line.partition(" < ")[0]))
            assert used <= known, f"{page.name}: {line}"


def exposed() -> set[str]:
    """Names of our own metrics as Prometheus sees them."""
    metrics = Metrics()
    families = [*metrics.registry.collect(), *metrics.store_registry.collect()]
    shown = (family for family in families if family.name.startswith("tts_receiver_"))
    return {family.name + ("_total" if family.type == "counter" else "") for family in shown}


def test_every_metric_is_documented_and_no_other() -> None:
    assert set(first_cells(REFERENCE / "metrics.md")) == exposed()


def test_every_metric_that_a_page_names_is_there() -> None:
    for page in PAGES:
        for name in re.findall(r"\btts_receiver_[a-z_]+", page.read_text()):
            bare = re.sub(r"_(bucket|count|sum)$", "", name)
            assert bare in exposed() or name == "tts_receiver_", f"{page.name}: {name}"


def logged() -> Iterable[str]:
    """Every first argument of a logging call, and the message of every fixed line."""
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "EventLine":
                yield from (text for text in texts(node.args[1]) if not text.endswith("."))  # of a delivery: see below
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("debug", "info", "warning", "error", "exception", "critical")
                and node.args
            ):
                yield from texts(node.args[0])


def test_every_log_message_is_documented_and_no_other() -> None:
    made = set(logged()) | {f"delivery.{outcome}" for outcome in STORED}
    assert set(first_cells(REFERENCE / "logs.md")) == made


def test_every_message_that_is_rate_limited_is_documented_with_what_makes_it_the_same_and_no_other() -> None:
    section = (REFERENCE / "logs.md").read_text().partition("\n## Lines that repeat\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", section, re.MULTILINE)
    names = {"event": "event_id"}  # what the line calls it
    shown = {message: tuple(names.get(name, name) for name in re.findall(r"`(\w+)`", text)) for message, text in rows}
    assert shown == RATE_LIMITED


def reasons() -> Iterator[str]:
    """Every slug that an error is given, as a class's default or where it is raised."""
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "reason":
                yield from texts(node.value)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(isinstance(target, ast.Name) and target.id == "reason" for target in targets):
                    yield from texts(node.value)


def test_every_reason_is_documented_and_no_other() -> None:
    assert set(first_cells(REFERENCE / "errors.md")) == set(reasons()) | OUTCOMES | OF_A_JOB


# links and examples


def anchors(page: Path) -> set[str]:
    """What a link can point to in a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    without_code = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(to), f"{target} has no such heading"


def test_every_page_can_be_reached_from_the_index() -> None:
    seen: set[Path] = set()
    left = [DOCS / "index.md"]
    while left:
        page = left.pop()
        if page in seen:
            continue
        seen.add(page)
        left += [
            to
            for target in re.findall(r"\]\(([^)\s#]+)", page.read_text())
            if "://" not in target and (to := (page.parent / target).resolve()).suffix == ".md"
        ]
    assert [page for page in DOCS.rglob("*.md") if page not in seen] == []
