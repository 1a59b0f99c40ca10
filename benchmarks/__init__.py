"""Benchmarks. `make bench` runs all that have a goal; `python -m benchmarks.intake` runs one."""
