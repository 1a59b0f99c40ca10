"""Chaos: replicas of one store under load, with random faults. `make chaos`, and a short form in the tests."""
