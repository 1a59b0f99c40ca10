"""The addresses of stored files in the receiver's own API, for handlers that pass them on."""

from __future__ import annotations


class AudioLinks:
    """Makes the links of artifacts.

    Args:
        url: the base address under which the application reaches the API; None if it is that of the private listener,
            or if there is none.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url

    def listening_at(self, url: str) -> None:
        """The private listener has this address; it is used if no other is configured."""
        if self._url is None:
            self._url = url

    def link(self, event_id: str, n: int) -> str | None:
        """The address of an event's n-th file, from 0; None without a base address."""
        return None if self._url is None else f"{self._url}/v1/events/{event_id}/audio?n={n}"
