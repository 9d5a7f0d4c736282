"""What a model is worth and costs, and tables of it."""
