"""Alembic's way in: runs the steps on the connection, and in the transaction, that `migrate.py` hands over.

Does not know where the database is. Cannot be run by itself.
"""

from alembic import context

from studio.history.tables import Table

context.configure(connection=context.config.attributes["connection"], target_metadata=Table.metadata)
with context.begin_transaction():
    context.run_migrations()
