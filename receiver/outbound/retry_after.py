"""`Retry-After` where outgoing requests meet it; the reading itself is pure and shared with the providers."""

from __future__ import annotations

from receiver.model.retry_after import MAX_RETRY_AFTER, parse_retry_after

__all__ = ["MAX_RETRY_AFTER", "parse_retry_after"]
