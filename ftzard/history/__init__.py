"""What was made of what: lineage, restored versions, models made again."""
