"""Dagster: the steps as notebook ops, chained into jobs, with handles travelling between them."""

import warnings

# dagstermill calls itself beta in a warning per op; its version is pinned: the word adds nothing.
warnings.filterwarnings("ignore", message=".*is currently in beta.*")
