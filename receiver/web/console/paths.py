"""Where the console is."""

from __future__ import annotations

PATH = "/console"
LOGIN = "/login"
LOGOUT = "/logout"
