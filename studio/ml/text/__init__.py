"""From a conversation to tokens and labels: templates, where answers stand, tokens a template needs, batches."""
