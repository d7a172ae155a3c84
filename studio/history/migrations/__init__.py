"""The schema's history: one file a step in `versions/`, run by `migrate.py` through Alembic."""
