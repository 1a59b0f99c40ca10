"""What a path in a setting means: the same in every one."""

from __future__ import annotations

from pathlib import Path


def setting_path(text: str, base: Path) -> Path:
    """The path that a setting names.

    Args:
        text: as it stands there. `~` at its beginning is the home folder of the user that we run as, `~name` that of
            another; `./~` is a name that begins so.
        base: the folder that a relative path starts from.

    Raises:
        ValueError: there is no such user, or nothing that could be a path; in words that follow the setting's name.
    """
    if not text.strip():
        raise ValueError("is empty; it is a path")
    if "\0" in text:
        raise ValueError("has a NUL character in it, which no path has")
    if text.startswith("/~"):
        raise ValueError(f"{text}: a home folder is meant by ~ at the beginning of a path, and not after a slash")
    if not text.startswith("~"):
        return base / text
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0]
        what = "has no home folder" if user == "~" else "is no user with a home folder"
        raise ValueError(f"{text}: {user} {what} on this machine; write the whole path") from None
