"""The store in a SQLite file: everything that knows of SQLite. Only `receiver.store` imports it."""

import receiver.store.sqlite.expressions  # noqa: F401 - tells SQLAlchemy how SQLite spells them
