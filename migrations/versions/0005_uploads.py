"""Uploads: files that users bring, from the promise of one to its bytes in the store."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("declared_sha256", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("url_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'ready', 'refused', 'expired')", name=op.f("ck_uploads_status")),
        sa.CheckConstraint(
            "status <> 'ready' OR (sha256 IS NOT NULL AND kind IS NOT NULL)", name=op.f("ck_uploads_ready")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_uploads_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_owner_id_id", "uploads", ["owner_id", "id"], unique=False)
    op.create_index("ix_uploads_owner_id_sha256", "uploads", ["owner_id", "sha256"], unique=False)
    op.create_index(
        "ix_uploads_unfinished", "uploads", ["expires_at"], unique=False, postgresql_where=sa.text("status <> 'ready'")
    )


def downgrade() -> None:
    """Take back. The bytes are without a row then, and are swept."""
    op.drop_table("uploads")
