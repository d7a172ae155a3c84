"""One file a kind of data, each a reader that yields numbered rows; beneath them bytes and lines. Knows no store."""
