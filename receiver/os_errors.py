"""Adds advice to the system's errors about files and folders."""

from __future__ import annotations

import errno

_ADVICE = {
    errno.ENOSPC: "Free some space there.",
    errno.EDQUOT: "Free some space there, or raise the quota.",
    errno.EACCES: "Give the user that runs the receiver access to it.",
    errno.EPERM: "Give the user that runs the receiver access to it.",
    errno.EROFS: "Mount the file system for writing.",
    errno.EISDIR: "Name a file instead.",
    errno.ENOTDIR: "Name a folder instead.",
    errno.EIO: "Check the disk: the system log has details.",
    errno.ENOENT: "Create it, or name another.",
    errno.EMFILE: "Raise the limit of open files.",
    errno.ENFILE: "Raise the system's limit of open files.",
}


def cause_and_advice(error: OSError) -> str:
    """The system's message and what to do, such as `No space left on device. Free some space there.`"""
    cause = error.strerror or str(error) or type(error).__name__
    return " ".join(filter(None, [f"{cause.rstrip('.')}.", _ADVICE.get(error.errno or 0)]))
