"""Registered models: their records in git, the champion, and what is done with a version."""
