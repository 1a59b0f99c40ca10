"""Describes why a plugin's module cannot be imported: the error, and the file and line in its own code."""

from __future__ import annotations

from importlib.util import find_spec

from receiver.model.redact import truncate

MAX_CHARACTERS = 1000


def import_failure(error: BaseException, module: str) -> str:
    """The error in one line: its message, and the innermost frame in the module's own code.

    Args:
        error: the exception of the import.
        module: the module's name; all code of its top-level package counts as its own.
    """
    if isinstance(error, SyntaxError) and error.filename is not None:
        text, location = f"{type(error).__name__}: {error.msg}", _at(error.filename, error.lineno)
    else:
        text, location = _described(error), _own_line(error, module.lstrip(".").partition(".")[0])
    return truncate(" ".join(text.split()), MAX_CHARACTERS) + location


def install_hint(error: BaseException, module: str) -> str:
    """The advice to install a missing library that the module needs; empty for any other error."""
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not missing or missing == module.lstrip(".").partition(".")[0] or _is_installed(missing):
        return ""
    return f"; install the package {missing} where the receiver is installed"


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a module with an invalid __spec__
        return False


def _described(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{type(error).__name__}: {error.filename}: {error.strerror}"
    kind = type(error).__name__
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an exception class of the plugin, whose __str__ fails
        message = ""
    return f"{kind}: {message}" if message else kind


def _own_line(error: BaseException, package: str) -> str:
    trace, found = error.__traceback__, ""
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__"))
        if name.partition(".")[0] == package:
            found = _at(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return found


def _at(file: str, line: int | None) -> str:
    return f" ({file}, line {line})" if line else f" ({file})"
