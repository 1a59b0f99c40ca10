"""A process that does not say by which keys it indexes makes all of them incomplete (docs/adr/0102). Only adds."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
compatible_from = "0006"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        op.execute("""
            CREATE TRIGGER forget_metadata_keys AFTER INSERT ON processes WHEN NEW.metadata_keys IS NULL
            BEGIN
                UPDATE metadata_keys SET completed_at = NULL, event_id = '', job_id = '';
            END
        """)
        return
    op.execute("""
        CREATE FUNCTION receiver_forget_metadata_keys() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE metadata_keys SET completed_at = NULL, event_id = '', job_id = '';
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER forget_metadata_keys AFTER INSERT ON processes FOR EACH ROW WHEN (NEW.metadata_keys IS NULL)
        EXECUTE FUNCTION receiver_forget_metadata_keys()
    """)
