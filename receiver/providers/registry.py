"""Every provider by name: the built-in ones, and those that installed packages bring (group `tts_receiver.providers`).

A package's entry point names a class with `Provider`'s methods, made without arguments, or an object that has them.
It is imported when a source names it, and not before: what is installed and not used costs nothing and breaks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from inspect import isfunction
from typing import Any, cast

from receiver.errors import PluginError
from receiver.model.import_errors import import_failure, install_hint
from receiver.model.signature import SCHEMES
from receiver.providers.aitts import Aitts
from receiver.providers.audixa import Audixa
from receiver.providers.base import Provider
from receiver.providers.finevoice import Finevoice
from receiver.providers.miragic import Miragic
from receiver.providers.wire import Capabilities

GROUP = "tts_receiver.providers"
GENERIC = "generic"
"""The provider that is made from a source's own table: `receiver.providers.generic`."""

_ALL: tuple[Provider, ...] = (Aitts(), Audixa(), Finevoice(), Miragic())

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}
"""Every built-in provider by the word that a source's `provider` key uses."""

RESERVED = frozenset({*PROVIDERS, GENERIC})

_METHODS = tuple(name for name, value in vars(Provider).items() if isfunction(value) and not name.startswith("_"))
_ATTRIBUTES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("is not a text", lambda value: isinstance(value, str)),
    "base_url": ("is not a text", lambda value: isinstance(value, str)),
    "scheme": (
        f"is neither None nor one of {', '.join(sorted(SCHEMES))}",
        lambda value: value is None or (isinstance(value, str) and value in SCHEMES),
    ),
    "kept_headers": (
        "is not a tuple of lower-case texts",
        lambda value: isinstance(value, tuple) and all(isinstance(item, str) and item.islower() for item in value),
    ),
    "retry_window_seconds": ("is not a number", lambda value: isinstance(value, int | float)),
    "capabilities": ("is not a Capabilities", lambda value: isinstance(value, Capabilities)),
}


class _Known(Mapping[str, Provider]):
    """A provider is loaded when it is asked for by name; to list the names loads none."""

    def __getitem__(self, name: str) -> Provider:
        """The provider.

        Raises:
            KeyError: there is none of this name.
            PluginError: it is an installed package's, and cannot be used.
        """
        built_in = PROVIDERS.get(name)
        if built_in is not None:
            return built_in
        points = [] if name in RESERVED else list(entry_points(group=GROUP, name=name))
        if not points:
            raise KeyError(name)
        if len(points) > 1:
            raise PluginError(f"more than one package has it: {'; '.join(map(_about, points))}. Uninstall all but one.")
        return _load(points[0])

    def __iter__(self) -> Iterator[str]:
        installed = {point.name for point in entry_points(group=GROUP)}
        return iter([*PROVIDERS, *sorted(installed - RESERVED)])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def known_providers() -> Mapping[str, Provider]:
    """The built-in providers and those of installed packages. A built-in one wins over a package's of the same name."""
    return _Known()


def taken_names() -> dict[str, str]:
    """What is wrong with installed packages that bring a provider under the name of a built-in one, by that name."""
    return {
        point.name: f"{_about(point)} takes the name of a built-in provider, which is used; uninstall the package, or "
        "ask its author for another name"
        for point in entry_points(group=GROUP)
        if point.name in RESERVED
    }


def _load(point: EntryPoint) -> Provider:
    about = _about(point)
    try:
        found = point.load()
    except KeyboardInterrupt:  # somebody wants to end us
        raise
    except BaseException as error:  # whatever somebody else's code raises
        failure = import_failure(error, point.module) + install_hint(error, point.module)
        raise PluginError(f"{about} cannot be imported: {failure}") from error
    if isinstance(found, type):
        try:
            found = found()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PluginError(
                f"{about} cannot be made without arguments: {import_failure(error, point.module)}"
            ) from error
    try:
        wrong = _what_is_wrong(found, point.name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the author's own properties
        raise PluginError(f"{about} cannot be looked at: {import_failure(error, point.module)}") from error
    if wrong:
        raise PluginError(f"{about} is not a provider: {'; '.join(wrong)}")
    return cast("Provider", found)


def _what_is_wrong(found: object, name: str) -> list[str]:
    missing = [item for item in (*_ATTRIBUTES, *_METHODS) if not hasattr(found, item)]
    wrong = [f"lacks {', '.join(missing)}"] if missing else []
    wrong += [
        f"{item} {complaint}"
        for item, (complaint, fits) in _ATTRIBUTES.items()
        if item not in missing and not fits(getattr(found, item))
    ]
    wrong += [
        f"{item} is not a method" for item in _METHODS if item not in missing and not callable(getattr(found, item))
    ]
    own = getattr(found, "name", name)
    if isinstance(own, str) and own != name:
        taken = ", which is a built-in provider's" if own in RESERVED else ""
        wrong.append(f"its name is {own!r}{taken}, and its entry point's {name!r}")
    return wrong


def _about(point: EntryPoint) -> str:
    """An entry point and the distribution it is from, for a person."""
    dist = point.dist
    of = f" of {dist.name} {dist.version}" if dist is not None else ""
    return f"the entry point {point.name} = {point.value}{of}"
