"""What is measured over a split."""
