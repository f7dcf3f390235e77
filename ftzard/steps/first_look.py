"""The summary of a new workspace with data: its rows by split, and the cost of a training."""

from ftzard.core.durations import duration_text
from ftzard.errors import FtzardError
from ftzard.steps import plan
from ftzard.workspace.workspace import Workspace

JOB = "training_pipeline_job"


def lines(workspace: Workspace) -> list[str]:
    """Return sentences on the first training, from the plan of its job.

    A training that would be refused is said in its own words: nothing is wrong with the workspace.
    """
    try:
        estimate = plan.plan(workspace, JOB)
    except FtzardError as error:
        return [f"a training would stop: {error}"]
    test, wanted = estimate.rows["test"], estimate.config.config.gate.min_rows
    output = [f"sides: {estimate.rows['train']:,} rows to train on, "
              f"{estimate.rows['validation']:,} to validate, {test:,} to test"]
    if test < wanted:
        output.append(f"the gate wants {wanted:,} test rows (gate.min_rows) and will say that it "
                      "cannot tell: bring more rows, or set it lower")
    fits = "" if estimate.fits else (f"; it does not fit this machine, see 'ftzard plan {JOB} -w "
                                     f"{workspace.in_shell}'")
    output.append(f"the first training computes for about {duration_text(estimate.seconds)} on an "
                  f"idle machine like this; loading and the other steps come on top{fits}")
    return output
