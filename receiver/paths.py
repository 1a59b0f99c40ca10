"""The meaning of a path in a setting, the same in all settings."""

from __future__ import annotations

from pathlib import Path


def setting_path(text: str, base: Path) -> Path:
    """The path that a setting names.

    Args:
        text: as it stands there. `~` at its beginning is the home folder of the user that we run as, `~name` that of
            another; `./~` is a name that begins so.
        base: the folder that a relative path starts from.

    Raises:
        ValueError: there is no such user, or the text is no path; the message continues the setting's name.
    """
    if not text.strip():
        raise ValueError("is empty; it is a path")
    if "\0" in text:
        raise ValueError("contains a NUL character, which no path can have")
    if text.startswith("/~"):
        raise ValueError(f"{text}: ~ means a home folder only at the beginning of a path, not after a slash")
    if not text.startswith("~"):
        return base / text
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0]
        what = "has no home folder" if user == "~" else "is no user with a home folder"
        raise ValueError(f"{text}: {user} {what} on this machine; write the whole path") from None
