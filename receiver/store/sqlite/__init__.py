"""The store in a SQLite file: everything that knows of SQLite. Only `receiver.store` imports it."""
