"""Submits jobs, polls them, and passes their ends to the inbox."""
