"""The providers by name: the built-in ones, and those of installed packages (group `tts_receiver.providers`).

An entry point names a provider class, which is instantiated without arguments, or an instance. It is imported when a
source first names it: a package that is installed and not used costs nothing and breaks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from receiver.errors import PluginError
from receiver.model.import_errors import import_failure, install_hint
from receiver.providers.aitts import Aitts
from receiver.providers.audixa import Audixa
from receiver.providers.conformance import find_problems
from receiver.providers.finevoice import Finevoice
from receiver.providers.miragic import Miragic
from receiver.providers.protocols import Provider

GROUP = "tts_receiver.providers"
GENERIC = "generic"
"""The name of the provider that a source's own table configures: `receiver.providers.generic`."""

_ALL: tuple[Provider, ...] = (Aitts(), Audixa(), Finevoice(), Miragic())

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}
"""The built-in providers by the value of a source's `provider` key."""

RESERVED = frozenset({*PROVIDERS, GENERIC})


class _Registry(Mapping[str, Provider]):
    """Loads a provider when it is looked up by name; listing the names loads none."""

    def __getitem__(self, name: str) -> Provider:
        """Return the provider.

        Raises:
            KeyError: there is no provider with this name.
            PluginError: it belongs to an installed package and cannot be used.
        """
        built_in = PROVIDERS.get(name)
        if built_in is not None:
            return built_in
        points = [] if name in RESERVED else list(entry_points(group=GROUP, name=name))
        if not points:
            raise KeyError(name)
        if len(points) > 1:
            raise PluginError(
                f"several packages provide it: {'; '.join(map(_describe, points))}. Uninstall all but one."
            )
        return _load(points[0])

    def __iter__(self) -> Iterator[str]:
        installed = {point.name for point in entry_points(group=GROUP)}
        return iter([*PROVIDERS, *sorted(installed - RESERVED)])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def known_providers() -> Mapping[str, Provider]:
    """Return the built-in providers and those of installed packages; a built-in one takes precedence."""
    return _Registry()


def name_conflicts() -> dict[str, str]:
    """Return a message for each installed package whose provider has the name of a built-in one, by that name."""
    return {
        point.name: f"{_describe(point)} has the name of a built-in provider, which is used instead; uninstall the "
        "package, or ask its author for another name"
        for point in entry_points(group=GROUP)
        if point.name in RESERVED
    }


def _load(point: EntryPoint) -> Provider:
    described = _describe(point)
    try:
        found = point.load()
    except KeyboardInterrupt:  # the user stops the process
        raise
    except BaseException as error:  # whatever a package's code raises
        failure = import_failure(error, point.module) + install_hint(error, point.module)
        raise PluginError(f"{described} cannot be imported: {failure}") from error
    if isinstance(found, type):
        try:
            found = found()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PluginError(
                f"{described} cannot be instantiated without arguments: {import_failure(error, point.module)}"
            ) from error
    try:
        problems = _problems(found, point.name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the author's own properties
        raise PluginError(f"{described} cannot be inspected: {import_failure(error, point.module)}") from error
    if problems:
        raise PluginError(f"{described} is not a provider: {'; '.join(problems)}")
    return cast("Provider", found)


def _problems(candidate: object, name: str) -> list[str]:
    """Return why an entry point's object cannot be used as a provider."""
    problems = find_problems(candidate)
    own_name = getattr(candidate, "name", name)
    if isinstance(own_name, str) and own_name != name:
        suffix = ", which is a built-in provider's" if own_name in RESERVED else ""
        problems.append(f"its name is {own_name!r}{suffix}, and its entry point's {name!r}")
    return problems


def _describe(point: EntryPoint) -> str:
    """Return the entry point and its distribution, for messages."""
    dist = point.dist
    of = f" of {dist.name} {dist.version}" if dist is not None else ""
    return f"the entry point {point.name} = {point.value}{of}"
