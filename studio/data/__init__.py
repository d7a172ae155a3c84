"""What examples are: reading files, recognising formats, cleaning, surveying. pyarrow and datasets live only here."""
