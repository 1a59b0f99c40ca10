"""Whether a request was started by a page of the console, by what the browser says of it.

`Sec-Fetch-Site` compares the origins as the browser sees them, also behind a proxy that changes `Host`. Browsers send
it to https and to loopback. Elsewhere there is `Origin`, which is compared with `Host`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from receiver.settings.private import is_loopback
from receiver.web.api.problems import ProblemError

NOT_OURS = (
    "This form was not sent by a page of this console, or the page is too old, so nothing was changed. Open the "
    "console by its own address, load the page again, and send the form from there."
)


def require_same_origin(request: Request) -> None:
    """Refuse what a page of another origin made the browser send.

    Raises:
        ProblemError: 403.
    """
    sites = request.headers.getlist("sec-fetch-site")
    origins = request.headers.getlist("origin")
    if sites:
        is_ours = [site.lower() for site in sites] == ["same-origin"]
    else:
        is_ours = not origins or (len(origins) == 1 and _authority(origins[0]) == _host(request))
    if not is_ours:
        raise ProblemError(403, NOT_OURS, reason="foreign_origin")


def is_secure(request: Request) -> bool:
    """Whether the browser sent a form by https, whatever a proxy before us did.

    Raises:
        ProblemError: 403, if it does not say from where.
    """
    origins = request.headers.getlist("origin")
    if len(origins) != 1 or _authority(origins[0]) is None:
        raise ProblemError(403, NOT_OURS, reason="foreign_origin")
    return origins[0].lower().startswith("https://")


def may_be_secure(request: Request) -> bool:
    """Whether anything says that a request came by https: the browser, or a proxy that we need not trust for that."""
    protocols = ",".join(request.headers.getlist("x-forwarded-proto") + request.headers.getlist("forwarded")).lower()
    if "https" in protocols:
        return True
    host = _host_name(request)
    is_local = is_loopback(host) or (host or "").rstrip(".").endswith(".localhost")  # browsers trust it by http as well
    return "sec-fetch-site" in request.headers and not is_local


def _authority(origin: str) -> str | None:
    """The host and port of an origin; None for `null`, and for what is no origin."""
    scheme, separator, rest = origin.lower().partition("://")
    return rest if separator and scheme in ("http", "https") and rest and "/" not in rest else None


def _host(request: Request) -> str | None:
    hosts = request.headers.getlist("host")
    return hosts[0].lower() if len(hosts) == 1 else None


def _host_name(request: Request) -> str | None:
    try:
        return urlsplit(f"//{_host(request) or ''}").hostname
    except ValueError:
        return None
