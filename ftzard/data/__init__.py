"""Rows: reading files, cleaning, splitting, sampling.

Functions from tables to tables. Nothing here knows Dagster, MLflow, torch or the configuration;
what a function needs is passed to it by name.
"""
