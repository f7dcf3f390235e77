"""A workspace on disk: its folders, artifact names, drop folders and notebooks."""
