"""The store: all SQL is in plain functions of a Connection, so that several can share a transaction."""
