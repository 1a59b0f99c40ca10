"""Opens the audio storage that a setting names.

The local folder is our own code and not obstore's: obstore 0.12 writes beside the target and renames, but never calls
fsync (traced), and has no option for it; after a power failure a recorded artifact could be an empty file.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from receiver.outbound.folder import LocalFolder
from receiver.outbound.storage_types import Storage
from receiver.paths import setting_path

REMOTE_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "memory")


def open_storage(url: str, base: Path) -> Storage:
    """The storage that a setting names.

    Args:
        url: a folder (`data/audio`, `/srv/audio`, `file:///srv/audio`), or `s3://bucket/prefix`, `gs://…`, `az://…`,
            `memory://`. Credentials of an object store come from its usual environment variables.
        base: what a relative folder is relative to.

    Raises:
        ValueError: the setting is invalid; the message says why.
    """
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url):
        if not url.strip():
            raise ValueError("the audio storage is empty; name a folder or an address such as s3://bucket/prefix")
        return LocalFolder(setting_path(url, base))
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise ValueError("a file address has three slashes and an absolute path: file:///srv/audio")
        return LocalFolder(setting_path(unquote(parts.path), base))
    if scheme not in REMOTE_SCHEMES:
        raise ValueError(f"{scheme}:// is no audio storage; use a folder, or one of {', '.join(REMOTE_SCHEMES)}")
    if "@" in parts.netloc and scheme not in ("abfs", "abfss"):
        raise ValueError(f"no credentials in the {scheme}:// address; they belong in the environment")
    if parts.query or parts.fragment:
        raise ValueError(f"the {scheme}:// address has a query; options belong in the environment")
    # Imported here: obstore takes about 4 MB of memory that a local folder does not need.
    from receiver.outbound.objects import ObjectStorage

    return ObjectStorage(url)
