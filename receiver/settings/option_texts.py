"""Options of handlers from the environment and the secrets directory: texts, until the handler's model is known.

For a key of the receiver's own, its type says whether a text is a list. An option's type is known only once the handler
is loaded, so the text is kept as it is: `123` stays a text, and a list can have one item a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from receiver.settings.base import text_items
from receiver.settings.tables import HandlerSettings


class OptionText(str):
    """The text of an option; `as_list` and `as_table` read it as what the option turns out to be."""

    __slots__ = ()

    def as_list(self) -> list[Any]:
        """The items: JSON, or one a line, with blank lines and comments.

        Raises:
            ValueError: it is neither, or empty.
        """
        items: list[Any] = text_items(self)
        return items

    def as_table(self) -> dict[str, Any]:
        """The table, from JSON.

        Raises:
            ValueError: it is not a JSON object.
        """
        try:
            table = json.loads(self)
        except (ValueError, RecursionError):
            table = None
        if isinstance(table, dict):
            return table
        raise ValueError("must be a JSON object in the environment or the secrets directory")


def with_option_texts(values: Mapping[str, Any], texts: Mapping[str, str | None], prefix: str = "") -> dict[str, Any]:
    """The values, in which each handler's option is the text that was given, and `where` has what its texts say.

    Args:
        values: what was read from the texts, by table.
        texts: of variables or files, by name in lower case, such as `handlers__forward__secrets`.
        prefix: of the names.
    """
    handlers: dict[str, Any] = dict(values.get("handlers") or {})
    conditions: list[tuple[list[str], str]] = []
    beginning = f"{prefix}handlers__".lower()
    for name, text in texts.items():
        if text is not None and name.lower().startswith(beginning):
            keys = name.lower().removeprefix(beginning).split("__")
            if len(keys) > 1 and keys[1] not in HandlerSettings.model_fields:
                handlers = _replaced(handlers, keys, OptionText(text))
            elif keys[1:2] == ["where"]:
                conditions.append((keys, text))
    for keys, text in sorted(conditions, key=lambda item: len(item[0])):  # a table before a key in it
        handlers = _replaced(handlers, keys, _condition(keys[2:], text))
    return {**values, "handlers": handlers} if handlers else dict(values)


def _condition(path: list[str], text: str) -> Any:
    """What a text in `where` says: the value if it is JSON, else the text itself, such as a glob.

    Sources and types are texts or lists of texts: `true` is a name like any other.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if path[:1] not in (["source"], ["type"]) or isinstance(value, list | dict) else text


def _replaced(table: Any, keys: Iterable[str], text: Any) -> dict[str, Any]:
    key, *rest = keys
    inner = dict(table) if isinstance(table, Mapping) else {}
    inner[key] = _replaced(inner.get(key), rest, text) if rest else text
    return inner
