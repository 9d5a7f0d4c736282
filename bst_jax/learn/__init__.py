"""What a training step is made of, and where its arrays lie."""
