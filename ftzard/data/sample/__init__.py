"""The sample data sets that the project ships: written by seeded grammars, not collected.

The one of classification is here; that of instruction tuning is the module `instructions`.
"""

from ftzard.data.sample.generator import Sample, generate, write

__all__ = ["Sample", "generate", "write"]
