"""Steps compiled for chips that are not here, and what their programs cost."""
