"""What a user sees: the only room that knows gradio. Handlers are short; the work is in `services/`."""
