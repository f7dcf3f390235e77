"""The sample data set that the project ships: written by a seeded grammar, not collected."""

from ftzard.dataset.sample.generator import Sample, generate, write

__all__ = ["Sample", "generate", "write"]
