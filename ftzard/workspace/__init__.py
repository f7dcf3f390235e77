"""A workspace on disk: its folders, the table of steps, its drop folders, its own code."""
