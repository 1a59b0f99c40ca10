"""Finds, checks and loads the handlers that the configuration names; errors name each handler that does not load.

A handler comes from an entry point of an installed package (group `tts_receiver.handlers`), the plugins directory, or
`use = "module:name"`. A table finds the handler of its own name, or of another with `use = "name"`, so that several can
use one. Only handlers that are named in the configuration or are in the directory are active.

Built-in handlers are loaded from their files beside this package, never by the name `handlers`: a user's folder of that
name in the working directory must neither shadow them nor break the start.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from receiver.engine.handler import Handler
from receiver.engine.handler_options import OptionsContext, check_options, secrets_in
from receiver.engine.plugin_files import PluginFolder
from receiver.engine.routing import configured_where
from receiver.errors import ConfigError, ConfigProblem, PluginError
from receiver.model.import_errors import import_failure, install_hint
from receiver.model.redact import Redactor
from receiver.model.routing import Where, meets
from receiver.model.slots import Slots
from receiver.paths import setting_path
from receiver.settings import HandlerSettings, Settings, suggestion

if TYPE_CHECKING:
    from ssl import SSLContext

ENTRY_POINT_GROUP = "tts_receiver.handlers"
BUILT_IN = Path(__file__).resolve().parents[2] / "handlers"


@dataclass(frozen=True, slots=True)
class ActiveHandler:
    """One active handler: with its configured bounds and conditions, and its validated options.

    Attributes:
        loaded_from: the file, entry point or `module:name` that it is from.
        allow_private_addresses: whether its `ctx.http` may connect to private and loopback addresses.
        tls: of its `ctx.http`; None for the usual.
    """

    handler: Handler
    options: Any
    loaded_from: str
    allow_private_addresses: bool = False
    tls: SSLContext | None = None


class _Subscribers(NamedTuple):
    """The handlers that subscribe to an event type.

    Attributes:
        conditions: each name with its conditions; empty if none of them has any.
    """

    names: tuple[str, ...]
    conditions: tuple[tuple[str, Where], ...]


class Registry:
    """The active handlers by name."""

    def __init__(self, active: Mapping[str, ActiveHandler]) -> None:
        self.active = dict(active)
        self._by_type: dict[str, _Subscribers] = {}

    def __getitem__(self, name: str) -> ActiveHandler:
        return self.active[name]

    def __contains__(self, name: str) -> bool:
        return name in self.active

    def names_for(self, type: str, source: str, payload: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the handlers that get an event: those that subscribe to its type, and whose conditions it meets.

        Args:
            payload: the normalised payload.
        """
        found = self._by_type.get(type)
        if found is None:
            found = self._subscribers(type)
        if not found.conditions:
            return found.names
        return tuple(name for name, where in found.conditions if meets(where, type, source, payload))

    def _subscribers(self, type: str) -> _Subscribers:
        names = tuple(name for name, active in self.active.items() if active.handler.subscribes_to(type))
        conditions = tuple((name, self.active[name].handler.where) for name in names)
        found = _Subscribers(names, conditions if any(where for _, where in conditions) else ())
        if len(self._by_type) < 1000:  # bounded: event types come from outside
            self._by_type[type] = found
        return found

    def with_private_addresses(self) -> list[str]:
        """Names of the handlers that may connect to private addresses."""
        return [name for name, active in self.active.items() if active.allow_private_addresses]

    def with_tls(self) -> dict[str, SSLContext]:
        """The TLS of the handlers that have their own, by name."""
        return {name: active.tls for name, active in self.active.items() if active.tls is not None}

    def secrets(self) -> Iterator[str]:
        """All secrets in the handlers' options, for redaction."""
        for active in self.active.values():
            yield from secrets_in(active.options)

    def slots(self, concurrency: int) -> Slots:
        """How these handlers share `concurrency` slots, within each one's own bound."""
        bounds = {name: active.handler.concurrency for name, active in self.active.items()}
        cluster = {
            name: bound
            for name, bound in bounds.items()
            if bound is not None and self.active[name].handler.across == "cluster"
        }
        return Slots(concurrency, bounds, cluster)


def load_registry(settings: Settings) -> Registry:
    """Load every active handler.

    Raises:
        ConfigError: names each handler that cannot be loaded, and why.
    """
    problems: list[ConfigProblem] = []
    context = OptionsContext.of(settings)
    from_files = _from_directory(settings, problems)
    active: dict[str, ActiveHandler] = {}
    for name in [*settings.handlers, *(name for name in from_files if name not in settings.handlers)]:
        table = settings.handlers.get(name, HandlerSettings())
        try:
            found, loaded_from = _find(name, table, from_files)
            bounded = found.with_bounds(table.attempts, table.timeout, table.concurrency, table.across)
            if table.where is not None:
                bounded = bounded.narrowed(configured_where(table.where, found.on, settings.sources))
            options = check_options(name, bounded, table.options, replace(context, tls=table.tls is not None))
            active[name] = ActiveHandler(
                bounded, options, loaded_from, table.allow_private_addresses, load_tls(table, settings.base)
            )
        except PluginError as error:
            problems.append(ConfigProblem(f"handlers.{name}", str(error)))
        except ConfigError as error:
            problems += [ConfigProblem(f"handlers.{name}.{problem.where}", problem.what) for problem in error.problems]
    registry = Registry(active)
    if problems:
        redact = Redactor([*settings.secrets(), *registry.secrets()])  # an error of the author's code may quote them
        redacted = [ConfigProblem(problem.where, redact(problem.what)) for problem in problems]
        raise ConfigError(settings.with_origins(redacted))
    return registry


def load_tls(table: HandlerSettings, base: Path) -> SSLContext | None:
    """The TLS that a handler's table configures, from its files; None for the usual.

    Args:
        base: the folder of relative paths.

    Raises:
        ConfigError: a file cannot be used.
    """
    if table.tls is None:
        return None
    # Not at the top: commands that only read the store need no network libraries.
    from receiver.outbound.client_tls import client_tls

    try:
        return client_tls(table.tls.certificate, table.tls.key, table.tls.ca, base)
    except ConfigError as error:
        raise ConfigError([ConfigProblem(f"tls.{problem.where}", problem.what) for problem in error.problems]) from None


def _find(name: str, table: HandlerSettings, from_files: Mapping[str, tuple[Handler, str]]) -> tuple[Handler, str]:
    if table.use is not None and ":" in table.use:
        found, loaded_from = _from_reference(table.use), table.use
    else:
        found, loaded_from = _named(name if table.use is None else table.use, table, from_files)
    return replace(
        found, name=name
    ), loaded_from  # after its table: several may use one function, with different options


def _named(name: str, table: HandlerSettings, from_files: Mapping[str, tuple[Handler, str]]) -> tuple[Handler, str]:
    """Return the handler that a file of the plugins directory, or an installed package, has under this name."""
    if name in from_files:
        return from_files[name]
    # The built-in ones first, so that a later release's new handler takes no name from an installed package.
    points = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: _built_in_file(point) is None)
    installed = {point.name: point for point in points}
    if name not in installed:
        known = suggestion(name, [*installed, *from_files])
        if table.use is not None:
            raise PluginError(f"use: there is no handler {name!r}{known} (or module:name)")
        raise PluginError(f'there is no handler of this name{known} (or say use = "module:name")')
    return _from_entry_point(installed[name]), f"entry point {installed[name].value}"


def _from_entry_point(point: EntryPoint) -> Handler:
    file = _built_in_file(point)
    if file is None:
        return _from_reference(point.value)
    attribute = point.value.partition(":")[2]
    return _attribute(PluginFolder(BUILT_IN, "receiver_built_in").load(file), attribute, point.value)


def _built_in_file(point: EntryPoint) -> Path | None:
    """The file of a built-in handler; None for another package's."""
    package, _, module = point.value.partition(":")[0].rpartition(".")
    file = BUILT_IN / f"{module}.py"
    return file if package == "handlers" and file.is_file() else None


def _from_reference(reference: str) -> Handler:
    module, colon, attribute = reference.partition(":")
    if not colon or not module or not attribute:
        raise PluginError(f"{reference!r} is not module:name")
    try:
        loaded = importlib.import_module(module)
    except KeyboardInterrupt:  # from the user
        raise
    except BaseException as error:  # the author's code may raise anything, SystemExit included
        failure = import_failure(error, module) + (_path_hint(error, module) or install_hint(error, module))
        raise PluginError(f"the module {module} cannot be imported: {failure}") from error
    return _attribute(loaded, attribute, reference)


def _path_hint(error: BaseException, module: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
        return "; install it where the receiver is installed, or let the variable PYTHONPATH name the folder it is in"
    return ""


def _from_directory(settings: Settings, problems: list[ConfigProblem]) -> dict[str, tuple[Handler, str]]:
    """Return handlers by name with their file; files that do not load are added to `problems`."""
    found: dict[str, tuple[Handler, str]] = {}
    if settings.plugins.directory is None:
        return found
    try:
        folder = setting_path(settings.plugins.directory, settings.base)
    except ValueError as error:
        problems.append(ConfigProblem("plugins.directory", str(error)))
        return found
    package = PluginFolder(folder, "receiver_plugins")
    try:
        files = package.plugins()
    except PluginError as error:
        problems.append(ConfigProblem("plugins.directory", str(error)))
        return found
    for file in files:
        try:
            _add_file(file, package, found)
        except PluginError as error:
            problems.append(ConfigProblem("plugins.directory", str(error)))
    return found


def _add_file(file: Path, package: PluginFolder, found: dict[str, tuple[Handler, str]]) -> None:
    module = package.load(file)
    handlers = [value for value in vars(module).values() if isinstance(value, Handler)]
    if not handlers:
        raise PluginError(f"{file} has no handler; name it with a leading underscore if it is none")
    for item in handlers:
        if item.name in found and found[item.name][0] is not item:
            raise PluginError(f"{file} and {found[item.name][1]} both have a handler {item.name!r}")
        found[item.name] = (item, str(file))


def _attribute(module: ModuleType, attribute: str, reference: str) -> Handler:
    value = getattr(module, attribute, None)
    if isinstance(value, Handler):
        return value
    what = "is not there" if value is None else "is not a handler; put @handler(on=…) above the function"
    raise PluginError(f"{reference} {what}")
