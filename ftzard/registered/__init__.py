"""What is done with registered models: found, asked, compared, promoted, given away, deleted."""
