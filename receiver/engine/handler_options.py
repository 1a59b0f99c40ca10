"""Checks a handler's options against its model, and finds the secrets in them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import AnyUrl, BaseModel, Secret, SecretBytes, SecretStr, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from receiver.engine.handler import Handler
from receiver.errors import PluginError
from receiver.model.printable import printable
from receiver.model.redact import Redactor, truncate
from receiver.model.secret_parts import address_secrets, secret_parts
from receiver.settings import HandlerSettings, Settings, suggestion
from receiver.settings.option_texts import OptionText
from receiver.settings.storage_keys import is_object_storage

RESERVED_KEYS = tuple(HandlerSettings.model_fields)
"""The keys of a handler's table that are not its own options."""

MAX_TARGET_CHARACTERS = 200

_LIST_ERRORS = frozenset({"list_type", "tuple_type", "set_type", "frozen_set_type", "sequence_str"})
_TABLE_ERRORS = frozenset({"dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"})

_WRITE_ONLY = '"writeOnly": true'
"""In the JSON schema of a pydantic secret."""


@dataclass(frozen=True, slots=True)
class OptionsContext:
    """What the validators of an options model get as `info.context`, a mapping with these keys and `timeout`.

    Attributes:
        object_storage: whether audio is stored in an object store.
        folder: the folder that relative paths start from.
        tls: whether the handler's table has a table `tls`.
    """

    object_storage: bool
    folder: Path
    tls: bool = False

    @classmethod
    def of(cls, settings: Settings) -> OptionsContext:
        """The context of a configuration."""
        return cls(is_object_storage(settings.audio.url), settings.base)


def check_options(name: str, found: Handler, given: dict[str, Any], context: OptionsContext) -> Any:
    """Validate a handler's options, from its table's keys without the reserved ones; None if it has no options.

    The validators learn the handler's `timeout`, so `found` has the bounds of its table.

    A list or a table that the environment or the secrets directory gives as a text is read as one.

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
            raise PluginError(f"{key} is not an option of it{suggestion(key, [*known, *RESERVED_KEYS])}")
    try:
        return _validated(name, found.options, given, {**asdict(context), "timeout": found.timeout})
    except PluginError as error:  # an author's validator may quote the value
        raise PluginError(Redactor(_given_secrets(found.options, given))(str(error))) from error.__cause__


def _validated(name: str, options: type[Any], given: dict[str, Any], context: Mapping[str, Any]) -> Any:
    try:
        model = TypeAdapter(options)
        try:
            return model.validate_python(given, context=dict(context))
        except ValidationError as error:
            read = _with_texts_read(given, error)
            if read is None:
                raise
            return model.validate_python(read, context=dict(context))
    except PluginError:
        raise
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise PluginError("; ".join(f"{_key(item['loc']) or name}: {_message(item)}" for item in wrong)) from None
    except KeyboardInterrupt:  # from the user
        raise
    except BaseException as error:  # the author's code: a validator, or a type that pydantic cannot use
        raise PluginError(f"its options cannot be checked: {type(error).__name__}: {error}") from error


def _key(location: Iterable[int | str]) -> str:
    return ".".join(map(str, location))


def _message(item: ErrorDetails) -> str:
    """Pydantic's message, but in the words of TOML, which has lists and tables only."""
    bounds = item.get("ctx", {})
    if item["type"] in _LIST_ERRORS:
        return "must be a list"
    if item["type"] in _TABLE_ERRORS:
        return "must be a table"
    if item["type"] == "too_short":
        return f"must have at least {_items(bounds['min_length'])}, not {bounds['actual_length']}"
    if item["type"] == "too_long" and bounds.get("actual_length") is not None:
        return f"must have at most {_items(bounds['max_length'])}, not {bounds['actual_length']}"
    return str(item["msg"]).removeprefix("Value error, ")


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{number} items"


def _with_texts_read(given: dict[str, Any], error: ValidationError) -> dict[str, Any] | None:
    """The options with each text read as the list or table that is wanted there; None if there is no such text.

    Raises:
        PluginError: a text cannot be read as that.
    """
    read = copy.deepcopy(given)
    changed = False
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        if item["type"] in _LIST_ERRORS | _TABLE_ERRORS:
            table: Any = read
            for depth, part in enumerate(item["loc"]):
                value = table.get(part) if isinstance(table, dict) else None
                if isinstance(value, OptionText):
                    try:
                        table[part] = value.as_list() if item["type"] in _LIST_ERRORS else value.as_table()
                    except ValueError as problem:
                        raise PluginError(f"{_key(item['loc'][: depth + 1])} {problem}") from None
                    changed = True
                table = value
    return read if changed else None


def _bounds_hint(given: dict[str, Any]) -> str:
    return suggestion(next(iter(given)), RESERVED_KEYS)


def _option_names(options: type[Any]) -> list[str] | None:
    if isinstance(options, type) and issubclass(options, BaseModel):
        return list(options.model_fields)
    return [item.name for item in fields(options)] if is_dataclass(options) else None


def _given_secrets(options: type[Any], given: dict[str, Any]) -> Iterator[str]:
    """The secrets in options that could not be validated: of fields that are or contain secrets, and of addresses."""
    try:
        schema = TypeAdapter(options).json_schema(by_alias=False)
    except Exception:  # noqa: BLE001 - a type of the author's that has no schema: any text may be a secret
        schema = {}
    types, nested = schema.get("properties", {}), json.dumps(schema.get("$defs"))
    for key, value in given.items():
        described = json.dumps(types[key]) if key in types else _WRITE_ONLY
        is_secret = _WRITE_ONLY in described or ('"$ref"' in described and _WRITE_ONLY in nested)
        for text in _all_texts(value):
            yield from secret_parts(text) if is_secret else address_secrets(text)


def _all_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield str(value)
        yield from str(value).splitlines()
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _all_texts(inner)


def target_of(options: Any) -> str | None:
    """Where a handler sends to, by the property `target` of its options model; None if the model has none.

    Without the options' secrets, printable and of bounded length: it is shown to operators. A field of that name does
    not count: it may be anything.
    """
    if not isinstance(getattr(type(options), "target", None), property):
        return None
    try:
        target = options.target
    except Exception as error:  # noqa: BLE001 - the author's code; a list must not fail because of it
        target = f"? ({type(error).__name__})"
    if not isinstance(target, str):
        return None
    return truncate(printable(Redactor(secrets_in(options))(target)), MAX_TARGET_CHARACTERS)


def secrets_in(options: Any) -> Iterator[str]:
    """The secrets in validated options, at any depth of models, dataclasses and collections.

    Those are all pydantic secrets and their parts, and the credentials and queries of all addresses.
    """
    seen: set[int] = set()
    waiting = [options]
    while waiting:
        value = waiting.pop()
        if isinstance(value, SecretStr | SecretBytes | Secret):
            for text in _texts(value.get_secret_value()):
                yield from secret_parts(text)
        elif isinstance(value, str | AnyUrl):
            yield from address_secrets(str(value))
        elif id(value) not in seen:
            seen.add(id(value))
            waiting += _inside(value)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, BaseModel):
        return [
            *vars(value).values(),
            *(value.model_extra or {}).values(),
            *(value.__pydantic_private__ or {}).values(),
        ]
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, item.name, None) for item in fields(value)]
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple | AbstractSet) else ()


def _texts(secret: Any) -> Iterator[str]:
    """The texts in which a secret may appear."""
    if isinstance(secret, bytes):
        yield repr(secret)[2:-1]
        yield secret.decode(errors="replace")
    else:
        yield str(secret)
