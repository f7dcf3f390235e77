"""The parts of dagstermill and papermill in use, imported without a warning per op and without a
grammar of web addresses that nothing here needs.
"""

import sys
import warnings

# dagstermill calls itself beta in a warning per op; its version is pinned: the word adds nothing.
warnings.filterwarnings("ignore", message=".*is currently in beta.*")

# jsonschema, far down in dagstermill's imports, compiles a grammar of web addresses if this package
# is there: two seconds of every process, for a check that no notebook's schema asks for.
_hidden = "rfc3987_syntax" not in sys.modules
if _hidden:
    sys.modules["rfc3987_syntax"] = None  # not to be had, for the time of this import

import dagstermill.factory as factory  # noqa: E402
from dagstermill import define_dagstermill_op  # noqa: E402
from dagstermill.engine import DagstermillEngine, DagstermillNotebookClient  # noqa: E402
from nbclient.exceptions import DeadKernelError  # noqa: E402
from papermill.clientwrap import PapermillNotebookClient  # noqa: E402
from papermill.exceptions import PapermillExecutionError  # noqa: E402
from papermill.log import logger  # noqa: E402

if _hidden:
    del sys.modules["rfc3987_syntax"]

__all__ = ["DagstermillEngine", "DagstermillNotebookClient", "DeadKernelError",
           "PapermillExecutionError", "PapermillNotebookClient", "define_dagstermill_op",
           "factory", "logger"]
