"""Foreign checkpoints: an engine and one table a family."""
