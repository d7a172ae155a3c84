"""What a user can ask for, as plain functions; the queue and the processes live here. Knows no model library."""
