"""The store in PostgreSQL: everything that knows of PostgreSQL. Only `receiver.store` imports it."""
