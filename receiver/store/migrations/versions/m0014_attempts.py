"""In PostgreSQL a trigger deletes the attempts of deleted runs, instead of a foreign key (docs/adr/0106)."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
compatible_from = "0006"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("""
        CREATE FUNCTION receiver_delete_attempts() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM attempts USING deleted
            WHERE attempts.event_id = deleted.event_id AND attempts.handler = deleted.handler;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER delete_attempts AFTER DELETE ON runs REFERENCING OLD TABLE AS deleted
        FOR EACH STATEMENT EXECUTE FUNCTION receiver_delete_attempts()
    """)
    op.drop_constraint(op.f("fk_attempts_runs"), "attempts", type_="foreignkey")
