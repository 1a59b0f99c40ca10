"""The table `[handlers.NAME.tls]`: files for the TLS of a handler's `ctx.http`."""

from __future__ import annotations

from pydantic import model_validator

from receiver.settings.base import Table


class HandlerTls(Table):
    """PEM files, read when the handler is loaded.

    `certificate` and `key`: what the client presents. `ca`: the authorities that it trusts, instead of the well-known
    ones.
    """

    certificate: str | None = None
    key: str | None = None
    ca: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> HandlerTls:
        if self.certificate is None and self.key is not None:
            raise ValueError("has a key without its certificate")
        if self.certificate is None and self.ca is None:
            raise ValueError("is empty; it needs a certificate or a ca")
        return self
