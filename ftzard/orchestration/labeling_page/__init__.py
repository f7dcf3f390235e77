"""The labeling page: a small web server on a workspace, for one person or for several by name."""
