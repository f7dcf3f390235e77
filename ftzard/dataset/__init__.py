"""Rows and splits: reading deliveries, cleaning, splitting, sampling and labelling them.

Plain functions from tables to tables. Nothing here knows of Dagster, MLflow, torch or the
configuration; what a function needs is passed to it by name.
"""
