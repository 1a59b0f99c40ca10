"""Alembic's entry: it is only ever run by `store.migrate`, inside the transaction that was begun there."""

from alembic import context

from receiver.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
