"""What we do with models and data: the only room that knows torch and the Hugging Face libraries."""
