"""All tables, wherever they are declared: for those who make or compare the whole schema."""

from core.db import scoping_tables
from core.db.tables import metadata

__all__ = ["metadata", "scoping_tables"]
