"""Alembic's environment. Only `store.migrate` runs it, in a transaction that it has begun."""

from alembic import context

from receiver.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
