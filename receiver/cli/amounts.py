"""Ask a service for an amount at a configured path: `usage --balance`, `speech --estimate`."""

from __future__ import annotations

from decimal import Decimal

from receiver.cli.provider_request import ProviderRequestError, fetch_response, request_failure
from receiver.errors import ReceiverError
from receiver.providers.amounts import read_amount
from receiver.providers.types import Request
from receiver.settings import Source


def ask(name: str, source: Source, request: Request, place: str) -> Decimal:
    """Send the request, and return the number at this place in the response.

    Raises:
        ProviderRequestError: there is none; the message says why.
    """
    try:
        return read_amount(source.provider, source.account, place, fetch_response(source, request))
    except ReceiverError as error:
        raise ProviderRequestError(str(request_failure(name, source, error))) from error
