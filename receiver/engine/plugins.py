"""Find the handlers that the configuration names, check them, and say by name what does not load.

Three places: an installed package's entry point (group `tts_receiver.handlers`), the plugins directory, and
`use = "module:name"`. Only what is named in the configuration or lies in the directory is active.

The built-in ones are loaded from beside this package by their file, never by the name `handlers`: a user's own folder
of that name in the working directory must neither shadow them nor break the start.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from receiver.engine.handler import Handler
from receiver.engine.plugin_files import PluginFolder
from receiver.errors import ConfigError, PluginError, Problem
from receiver.model.import_errors import import_failure, install_hint
from receiver.model.redact import Redactor
from receiver.model.slots import Slots
from receiver.paths import setting_path
from receiver.settings import HandlerSettings, Settings, suggestion

GROUP = "tts_receiver.handlers"
OUR_KEYS = tuple(HandlerSettings.model_fields)
"""The keys of a handler's table that are no options of its own."""
BUILT_IN = Path(__file__).resolve().parents[2] / "handlers"


@dataclass(frozen=True, slots=True)
class Active:
    """One active handler: its bounds after configuration, its checked options, and where it came from.

    Attributes:
        allow_private_addresses: whether its `ctx.http` may connect to private and loopback addresses.
    """

    handler: Handler
    options: Any
    where: str
    allow_private_addresses: bool = False


class Registry:
    """The active handlers by name."""

    def __init__(self, active: Mapping[str, Active]) -> None:
        self.active = dict(active)
        self._by_type: dict[str, tuple[str, ...]] = {}

    def __getitem__(self, name: str) -> Active:
        return self.active[name]

    def __contains__(self, name: str) -> bool:
        return name in self.active

    def names_for(self, event_type: str) -> tuple[str, ...]:
        """Names of the handlers that subscribe to this event word."""
        found = self._by_type.get(event_type)
        if found is None:
            found = tuple(name for name, active in self.active.items() if active.handler.wants(event_type))
            if len(self._by_type) < 1000:  # words come from outside
                self._by_type[event_type] = found
        return found

    def with_private_addresses(self) -> list[str]:
        """Names of the handlers that may connect to private addresses."""
        return [name for name, active in self.active.items() if active.allow_private_addresses]

    def slots(self, concurrency: int) -> Slots:
        """How these handlers share `concurrency` slots, within each one's own bound."""
        return Slots(concurrency, {name: active.handler.concurrency for name, active in self.active.items()})


def load_registry(settings: Settings) -> Registry:
    """Load every active handler.

    Raises:
        ConfigError: with each handler that cannot be loaded, by name, and why.
    """
    problems: list[Problem] = []
    dropped = _from_directory(settings, problems)
    active: dict[str, Active] = {}
    for name in [*settings.handlers, *(name for name in dropped if name not in settings.handlers)]:
        table = settings.handlers.get(name, HandlerSettings())
        try:
            found, where = _find(name, table, dropped)
            bounded = found.bounded(table.attempts, table.timeout, table.concurrency)
            options = check_options(name, found, table.options)
            active[name] = Active(bounded, options, where, table.allow_private_addresses)
        except PluginError as error:
            problems.append(Problem(f"handlers.{name}", str(error)))
    if problems:
        redact = Redactor(settings.secrets())  # the code that fails may have quoted what it read
        raise ConfigError([Problem(problem.where, redact(problem.what)) for problem in problems])
    return Registry(active)


def _find(name: str, table: HandlerSettings, dropped: Mapping[str, tuple[Handler, str]]) -> tuple[Handler, str]:
    if table.use is not None:
        found, where = _from_reference(table.use), table.use
    elif name in dropped:
        found, where = dropped[name]
    else:
        installed = {point.name: point for point in entry_points(group=GROUP)}
        if name not in installed:
            known = suggestion(name, [*installed, *dropped])
            raise PluginError(f'there is no handler of this name{known} (or say use = "module:name")')
        found, where = _from_entry_point(installed[name]), f"entry point {installed[name].value}"
    # The table's name is the handler's: one function may serve under two names with other options.
    return Handler(
        name, found.function, found.on, found.attempts, found.timeout, found.concurrency, found.options
    ), where


def _from_entry_point(point: EntryPoint) -> Handler:
    module, _, attribute = point.value.partition(":")
    if module.partition(".")[0] == "handlers" and (file := BUILT_IN / f"{module.rpartition('.')[2]}.py").is_file():
        return _attribute(PluginFolder(BUILT_IN, "receiver_built_in").load(file), attribute, point.value)
    return _from_reference(point.value)


def _from_reference(reference: str) -> Handler:
    module, colon, attribute = reference.partition(":")
    if not colon or not module or not attribute:
        raise PluginError(f"{reference!r} is not module:name")
    try:
        loaded = importlib.import_module(module)
    except KeyboardInterrupt:  # somebody wants to end us
        raise
    except BaseException as error:  # whatever somebody else's code raises
        failure = import_failure(error, module) + (_path_hint(error, module) or install_hint(error, module))
        raise PluginError(f"the module {module} cannot be imported: {failure}") from error
    return _attribute(loaded, attribute, reference)


def _path_hint(error: BaseException, module: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
        return "; install it where the receiver is installed, or let the variable PYTHONPATH name the folder it is in"
    return ""


def _from_directory(settings: Settings, problems: list[Problem]) -> dict[str, tuple[Handler, str]]:
    """Handlers by name with their file; what does not load is added to `problems`."""
    found: dict[str, tuple[Handler, str]] = {}
    if settings.plugins.directory is None:
        return found
    try:
        folder = setting_path(settings.plugins.directory, settings.base)
    except ValueError as error:
        problems.append(Problem("plugins.directory", str(error)))
        return found
    package = PluginFolder(folder, "receiver_plugins")
    try:
        files = package.plugins()
    except PluginError as error:
        problems.append(Problem("plugins.directory", str(error)))
        return found
    for file in files:
        try:
            _add_file(file, package, found)
        except PluginError as error:
            problems.append(Problem("plugins.directory", str(error)))
    return found


def _add_file(file: Path, package: PluginFolder, found: dict[str, tuple[Handler, str]]) -> None:
    module = package.load(file)
    mine = [value for value in vars(module).values() if isinstance(value, Handler)]
    if not mine:
        raise PluginError(f"{file} has no handler; name it with a leading underscore if it is none")
    for item in mine:
        if item.name in found and found[item.name][0] is not item:
            raise PluginError(f"{file} and {found[item.name][1]} both have a handler {item.name!r}")
        found[item.name] = (item, str(file))


def _attribute(module: ModuleType, attribute: str, reference: str) -> Handler:
    value = getattr(module, attribute, None)
    if isinstance(value, Handler):
        return value
    what = "is not there" if value is None else "is not a handler; put @handler(on=…) above the function"
    raise PluginError(f"{reference} {what}")


def check_options(name: str, found: Handler, given: dict[str, Any]) -> Any:
    """A handler's options, made from the keys of its table that are not ours; None for a handler without options.

    Raises:
        PluginError: a key is not known, or a value does not fit.
    """
    if found.options is None:
        if given:
            raise PluginError(f"takes no options, but has {', '.join(sorted(given))}{_bounds_hint(given)}")
        return None
    known = _option_names(found.options)
    for key in given:
        if known is not None and key not in known:
            raise PluginError(f"{key} is not an option of it{suggestion(key, [*known, *OUR_KEYS])}")
    try:
        return TypeAdapter(found.options).validate_python(given)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise PluginError(
            "; ".join(f"{'.'.join(str(part) for part in item['loc']) or name}: {item['msg']}" for item in wrong)
        ) from None
    except KeyboardInterrupt:  # somebody wants to end us
        raise
    except BaseException as error:  # the author's own code: a validator, or a type that pydantic cannot use
        raise PluginError(f"its options cannot be checked: {_reason(error)}") from error


def _bounds_hint(given: dict[str, Any]) -> str:
    return suggestion(next(iter(given)), OUR_KEYS)


def _option_names(options: type[Any]) -> list[str] | None:
    if isinstance(options, type) and issubclass(options, BaseModel):
        return list(options.model_fields)
    return [item.name for item in fields(options)] if is_dataclass(options) else None


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
