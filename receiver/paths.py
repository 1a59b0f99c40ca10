"""Paths in settings, interpreted in the same way for all of them."""

from __future__ import annotations

from pathlib import Path


def setting_path(text: str, base: Path) -> Path:
    """The path in a setting.

    Args:
        text: the setting's value. `~` at its beginning is the home folder of the user of this process, `~name` that of
            another user; use `./~` for a name that begins with `~`.
        base: the folder of relative paths.

    Raises:
        ValueError: there is no such user, or the text is not a path; the message follows the setting's name.
    """
    if not text.strip():
        raise ValueError("is empty; it must be a path")
    if "\0" in text:
        raise ValueError("contains a NUL character, which a path cannot have")
    if text.startswith("/~"):
        raise ValueError(f"{text}: ~ means a home folder only at the beginning of a path, not after a slash")
    if not text.startswith("~"):
        return base / text
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0]
        what = "has no home folder" if user == "~" else "is no user with a home folder"
        raise ValueError(f"{text}: {user} {what} on this machine; use the full path") from None
