"""The limit of open jobs: a module of its own because the help of the command line shows it."""

MAX_OPEN_JOBS = 64
"""Claimed jobs of one source in one process: requests in progress, and those that wait for their scheduled time."""
