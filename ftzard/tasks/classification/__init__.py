"""Classification: one label of a fixed set per text."""
