"""The steps of a round as functions, which the notebooks call act by act."""
