"""The address of a PostgreSQL database: `postgresql://user:password@host:port/database?option=value`.

Read more strictly than SQLAlchemy and libpq do. A password whose `@` or `/` is not percent-encoded would become a part
of the host or the database, which are shown.
"""

from __future__ import annotations

import re
from itertools import zip_longest

from sqlalchemy import URL, exc, make_url

SCHEME = "postgresql"
_ADDRESS = re.compile(
    rf"""{SCHEME}://
    (?:(?P<user>(?:[^:/?\#@%\s]|%[0-9A-Fa-f]{{2}})*)(?::(?P<password>(?:[^/?\#@%\s]|%[0-9A-Fa-f]{{2}})*))?@)?
    (?P<hosts>[^/?\#@%\s]*)
    (?:/(?P<database>[^/?\#@\s]*))?
    (?:\?(?P<options>[^\#@\s]*))?""",
    re.VERBOSE,
)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
_FORM = "postgresql://user:password@host/database"
_ENCODE = (
    f"is not an address such as {_FORM}. In the user, the password and the options write "
    "@ as %40, / as %2F, ? as %3F, # as %23, % as %25 and a space as %20"
)


def postgresql_url(url: str) -> URL:
    """The address of a PostgreSQL database, for the driver. It may have several hosts: `host1:5432,host2:5432`.

    Raises:
        ValueError: the address is not valid, names no database, or the driver is not installed. The text contains
            nothing of the address.
    """
    found = _ADDRESS.fullmatch(url)
    if found is None:
        raise ValueError(_ENCODE)
    if not found["database"]:
        raise ValueError(f"names no database: {_FORM}")
    hosts = [_checked(host) for host in found["hosts"].split(",")]
    try:
        if len(hosts) == 1:
            parsed = make_url(url)
        else:
            parsed = make_url(url[: found.start("hosts")] + url[found.end("hosts") :])
            names, ports = (",".join(part) for part in zip(*hosts, strict=True))
            parsed = parsed.update_query_dict({"host": names, "port": ports})
    except (exc.ArgumentError, ValueError):  # whose texts contain the address
        raise ValueError(_ENCODE) from None
    try:
        import psycopg  # noqa: F401 - the extra may not be installed
    except ImportError:
        raise ValueError("needs psycopg: install tts-receiver[postgresql]") from None
    return parsed.set(drivername=f"{SCHEME}+psycopg")


def _checked(text: str) -> tuple[str, str]:
    """A host and its port; both may be empty."""
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or 1) < 65_536:
        raise ValueError(f"names no host and port such as db.internal:5432, a port being 1 to 65535; {_ENCODE}")
    return found["host"].strip("[]"), found["port"] or ""


def location_of(url: URL) -> str:
    """The address without password and options."""
    user = f"{url.username}@" if url.username else ""
    _, options = url.get_dialect()().create_connect_args(url)
    hosts, ports = str(options.get("host", "")).split(","), str(options.get("port", "")).split(",")
    shown = ",".join(
        (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
        for host, port in zip_longest(hosts, ports, fillvalue="")
    )
    return f"{SCHEME}://{user}{shown}/{url.database or ''}"
