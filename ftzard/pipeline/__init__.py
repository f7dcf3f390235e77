"""Dagster: the steps as notebook ops, chained into jobs, with handles travelling between them."""

import warnings

# dagstermill calls itself beta in a warning per op; its version is pinned: the word adds nothing.
warnings.filterwarnings("ignore", message=".*is currently in beta.*")

# First of all: a parser generator far down in dagstermill's imports makes glibc give memory back
# and take it again half a million times (3 s) if it runs on top of certain heaps.
import dagstermill  # noqa: E402, F401
