"""The envelope of responses of `aitts`: `{"success": …}`, and its documented errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse


class ApiError(Exception):
    """An error response. Provider's documentation: `{"success":false,"error":{"code","message"}}`."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """Return the response."""
        error = {"code": self.code, "message": self.message}
        return JSONResponse({"success": False, "error": error}, self.status, self.headers)


def success(data: Mapping[str, Any], status: int = 200) -> JSONResponse:
    """`{"success":true,"data":…}`."""
    return JSONResponse({"success": True, "data": data}, status)


def invalid(message: str) -> ApiError:
    """400 VALIDATION_ERROR."""
    return ApiError(400, "VALIDATION_ERROR", message)


def unauthorized() -> ApiError:
    """401 UNAUTHORIZED."""
    return ApiError(401, "UNAUTHORIZED", "Missing or invalid credentials.")


def not_found(message: str) -> ApiError:
    """404. The documentation names no code for it: `NOT_FOUND` here."""
    return ApiError(404, "NOT_FOUND", message)


def rate_limited(retry_after: int) -> ApiError:
    """429 RATE_LIMIT_EXCEEDED with `Retry-After` in seconds."""
    headers = {"Retry-After": str(retry_after)}
    return ApiError(429, "RATE_LIMIT_EXCEEDED", "Too many requests.", headers)


def insufficient_credits(status: int) -> ApiError:
    """INSUFFICIENT_CREDITS. Provider's documentation: 402."""
    return ApiError(status, "INSUFFICIENT_CREDITS", "Insufficient credits")


def generation_failed() -> ApiError:
    """500 GENERATION_FAILED."""
    return ApiError(500, "GENERATION_FAILED", "The audio could not be generated.")


def maintenance(retry_after: int) -> ApiError:
    """503 MAINTENANCE. Provider's documentation: retry after 300 s."""
    headers = {"Retry-After": str(retry_after)}
    return ApiError(503, "MAINTENANCE", "The service is under maintenance.", headers)
