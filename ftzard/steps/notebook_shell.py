"""The IPython shell around a notebook: error display, the end of the kernel, resource usage."""

from __future__ import annotations

import atexit
import resource
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ftzard.core import parent_watchdog
from ftzard.errors import FtzardError
from ftzard.versioning import own_code

if TYPE_CHECKING:
    from ftzard.steps.step_run import StepRun


def shell() -> Any:
    """Return the IPython shell of this process, or None."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def show_messages_first() -> None:
    """Print an FtzardError's message in the notebook before its traceback."""
    running = shell()
    if running is None:
        return

    def show(running: Any, kind: Any, error: Any, traceback: Any, tb_offset: Any = None) -> Any:
        print(f"✗ {error}", file=sys.stderr, flush=True)
        return running.showtraceback((kind, error, traceback), tb_offset=tb_offset)

    running.set_custom_exc((FtzardError,), show)
    show_whole_texts()


def show_whole_texts() -> None:
    """Let tables in the notebook show texts to be judged, and numbers with four digits."""
    import pandas

    pandas.set_option("display.max_colwidth", 160)
    pandas.set_option("display.precision", 4)


def close_on_exit(close: Callable[[str, str], None]) -> None:
    """Call `close(status, reason)` when a cell fails or the kernel ends.

    The status is FAILED for a failed cell, and KILLED when the kernel or its parent ends.
    """
    def after_cell(result: Any) -> None:
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            close("FAILED", f"{type(error).__name__}: {error}")

    running = shell()
    if running is not None:
        running.events.register("post_run_cell", after_cell)
    atexit.register(lambda: close("KILLED", "the kernel ended before the last cell"))
    parent_watchdog.on_orphaned(lambda: close("KILLED", "the process of its run was killed"))


def resource_usage() -> dict[str, float]:
    """Return the CPU time and peak memory of this process, under MLflow's names."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    return {"system/cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "system/peak_memory_megabytes": round(usage.ru_maxrss * unit / 2**20, 1)}


def record_unsaved_cells(run: StepRun) -> None:
    """Report cells that ran by hand and are not in the saved notebook."""
    running, used = shell(), run.code.get(f"notebooks/{run.step.notebook}.ipynb")
    if running is None or used is None or run.dagster_run_id is not None:
        return
    cells = getattr(running.history_manager, "input_hist_raw", [])
    count = own_code.unsaved_cells(own_code.snapshot_file(run.workspace, used), cells)
    run.record_facts(cells_not_saved=count)
    if count:
        print(f"{count} of the cells that ran are not in {used.path} as it was saved when the "
              "step began: what Git_Dvc commits is the file. Save the notebook, then run it from "
              "the top.")
