"""Dagster: the steps as notebook ops, chained into jobs, and the processes that serve them."""
