"""Bounds of the jobs in hand, which the command line names in its help too."""

MAX_OPEN_JOBS = 64
"""Jobs in hand at one time, a source: those whose request is on its way, and those that wait for their turn."""
