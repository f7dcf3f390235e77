"""How good a model is, whether it is better than another, and the page that tells it."""
