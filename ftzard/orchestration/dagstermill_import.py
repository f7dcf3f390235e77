"""Imports dagstermill without two costs: a warning per op, and a grammar that nothing uses."""

import sys
import warnings

# dagstermill calls itself beta in a warning per op; its version is pinned: the word adds nothing.
warnings.filterwarnings("ignore", message=".*is currently in beta.*")

# jsonschema, far down in dagstermill's imports, compiles a grammar of web addresses if this package
# is there: two seconds of every process, for a check that no notebook's schema asks for.
_hidden = "rfc3987_syntax" not in sys.modules
if _hidden:
    sys.modules["rfc3987_syntax"] = None  # not to be had, for the time of this import

import dagstermill  # noqa: E402, F401

if _hidden:
    del sys.modules["rfc3987_syntax"]
