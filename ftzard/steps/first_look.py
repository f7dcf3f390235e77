"""What `ftzard init` says of a workspace with data: its rows by side, and what training takes."""

from ftzard.errors import FtzardError
from ftzard.steps import plan, plan_text
from ftzard.workspace.workspace import Workspace

JOB = "training_pipeline_job"


def lines(workspace: Workspace) -> list[str]:
    """Return sentences on the first training, from the plan of its job.

    A training that would be refused is said in its own words: nothing is wrong with the workspace.
    """
    try:
        told = plan.plan(workspace, JOB)
    except FtzardError as error:
        return [f"a training would stop: {error}"]
    test, wanted = told.rows["test"], told.config.config.gate.min_rows
    said = [f"sides: {told.rows['train']:,} rows to train on, {told.rows['validation']:,} to "
            f"validate, {test:,} to test"]
    if test < wanted:
        said.append(f"the gate wants {wanted:,} test rows (gate.min_rows) and will say that it "
                    "cannot tell: bring more rows, or set it lower")
    fits = "" if told.fits else (f"; it does not fit this machine, see 'ftzard plan {JOB} -w "
                                 f"{workspace.in_shell}'")
    said.append(f"the first training computes for about {plan_text.clock(told.seconds)} on an idle "
                f"machine like this; loading and the other steps come on top{fits}")
    return said
