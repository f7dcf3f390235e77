"""What a waiting kernel imports, so that its step starts at once; never torch, which costs more."""

import dagstermill  # noqa: F401
import matplotlib  # noqa: F401
import scrapbook  # noqa: F401

import ftzard.definitions
import ftzard.notebooks.chapter  # noqa: F401
