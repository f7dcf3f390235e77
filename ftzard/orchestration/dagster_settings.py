"""What Dagster's home of a workspace says in dagster.yaml, and how it follows what FTzard needs.

Runs that a daemon serves wait in Dagster's queue and are started one at a time: a run that waited
for the workspace's lock in a process of its own would cost 150 MB. `ftzard run` executes its run
itself and asks no queue.
"""

import yaml

from ftzard.core.artifacts import write_atomically
from ftzard.workspace.workspace import Workspace

#: Runs of one workspace that are at work at the same time.
AT_ONCE = 1

SETTINGS = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    "run_coordinator": {
        "module": "dagster._core.run_coordinator", "class": "QueuedRunCoordinator",
        "config": {"max_concurrent_runs": AT_ONCE, "dequeue_interval_seconds": 2,
                   # A code server that was killed is there again after some seconds.
                   "max_user_code_failure_retries": 3, "user_code_failure_retry_delay": 10}},
    "python_logs": {"managed_python_loggers": ["papermill"], "python_log_level": "INFO"},
    "run_monitoring": {"enabled": False},
    # What a notebook prints is in the event log; four more processes per run would add nothing.
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager",
                     "class": "NoOpComputeLogManager"},
}

#: The files of earlier versions; a file with exactly this content was never edited.
FORMER = ({**SETTINGS, "run_coordinator": {"module": "dagster._core.run_coordinator",
                                           "class": "DefaultRunCoordinator"}},)


def write(workspace: Workspace) -> None:
    """Write the dagster.yaml of a new workspace."""
    text = yaml.safe_dump(SETTINGS, sort_keys=False)
    write_atomically(workspace.dagster_home / "dagster.yaml",
                     lambda part: part.write_text(text, encoding="utf-8"))


def refresh(workspace: Workspace) -> bool:
    """Update a dagster.yaml of an earlier version; return whether it was one.

    What a person has changed in it stays as it is.
    """
    file = workspace.dagster_home / "dagster.yaml"
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    if settings not in FORMER:
        return False
    write(workspace)
    return True
