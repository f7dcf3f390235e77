"""Data by name: where the rows of a round come from, resolved once, hashed and recorded.

A source is a file, a folder of files, a version of this workspace's own data (dvc://), a data set
of the Hugging Face hub (hf://) or one on Comet (comet://). Each names what it means exactly: a name
that could mean other rows tomorrow (a branch, a hub id without its commit) is refused. What is no
plain file is written out once, under the hash of its content, and goes on as any delivery; the
record of what it was made of stands beside it.
"""

from ftzard.sources.ingest import describe, keep, materialise
from ftzard.sources.source import Source, check, named, parse

__all__ = ["Source", "check", "describe", "keep", "materialise", "named", "parse"]
