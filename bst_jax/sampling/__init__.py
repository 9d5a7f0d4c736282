"""Networks that sample tokens: budgets, ways to run them, pictures."""
