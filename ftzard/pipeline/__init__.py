"""Dagster: the steps as notebook ops, chained into jobs, with handles travelling between them."""
