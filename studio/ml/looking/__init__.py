"""What model and dataset look like before a training, for pages and terminal: rows, lengths, audit, plan."""
