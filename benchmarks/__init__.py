"""Measurements, side by side in one run. Run them all with `make bench`, or one with `python -m benchmarks.intake`."""
