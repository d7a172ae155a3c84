"""From a raw row to an example: which format it is, and how each notation is read."""
