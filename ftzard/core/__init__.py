"""Files, locks, processes, text and credentials, for all other packages."""
