"""Training: the loop, its objective, checkpoints, the search, and what it will take in memory."""
