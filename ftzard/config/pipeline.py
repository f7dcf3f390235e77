"""The table of steps: notebook, MLflow run, inputs and outputs.

Ops, jobs, IO managers, notebooks and the command line all use this table.
"""

from dataclasses import dataclass
from pathlib import Path

from ftzard.config import former_names
from ftzard.errors import WorkspaceError, nearest

#: The notebooks as packaged; a workspace has copies of them.
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


#: In `Step.reads`: the champion with its adapter, as the registry names it.
CHAMPION = "champion"


@dataclass(frozen=True)
class Step:
    """One row of the table.

    takes and yields name artifacts; `after` names the step whose run metadata this one reads;
    versioned says whether Git_Dvc follows; models, whether the step needs torch. reads is what the
    outputs follow from beside inputs, config, code and packages: `CHAMPION` and names of artifacts
    whose content counts, or in `always` the reason why the step runs each time.
    """

    name: str
    notebook: str
    run_name: str
    takes: tuple[str, ...] = ()
    yields: tuple[str, ...] = ()
    after: str | None = None
    versioned: bool = False
    models: bool = False
    about: str = ""
    reads: tuple[str, ...] = ()
    always: str = ""

    @property
    def metadata(self) -> str:
        """The name of the step's run metadata."""
        return f"{self.name}_metadata"


STEPS = (
    Step("cleaning", "Step1_Data_Cleaning", "DATA_CLEANING", ("raw",), ("cleaned", "rejected"),
         versioned=True, about="Keep the rows that can be used; keep the others with the reason."),
    Step("preprocessing", "Step2_Data_Preprocessing", "DATA_PREPROCESSING", ("cleaned",),
         ("tokenized",), versioned=True, models=True,
         about="Give every row its side by its text, and turn texts into tokens."),
    Step("inference_preprocessing", "Step2.1_Inference_Preprocessing", "INFERENCE_PREPROCESSING",
         ("incoming",), ("incoming_tokenized",), versioned=True, models=True,
         about="Clean and tokenize an unlabelled batch as the champion was trained.",
         reads=(CHAMPION, "tokenized")),
    Step("tuning", "Step3_Hyperparameter_Tuning", "HP_TUNING", ("tokenized",), models=True,
         about="Train one adapter per trial; rank the trials on validation rows only."),
    Step("choosing", "Step4_Choose_Best_Model", "CHOOSE_BEST_MODEL", ("tokenized",),
         after="tuning", versioned=True, models=True,
         about="Register the best trial and let the gate decide whether it becomes champion."),
    Step("inference", "Step5_Inference", "INFERENCE", ("incoming_tokenized",), ("predictions",),
         versioned=True, models=True, about="Predict the batch with the champion.",
         always="it adds the batch to the drift log, whose earlier entries it goes by"),
    Step("sampling", "Step6_Sampling", "DATA_SAMPLING", ("predictions",), ("queue",),
         versioned=True, about="Choose the rows that a person should label.",
         always="it goes by the labels that people have handed in, and by what they were asked"),
    Step("retraining", "Step7_Retraining", "RETRAINING", ("tokenized",), versioned=True,
         models=True, about="Train a challenger on all batches, starting from the champion.",
         reads=(CHAMPION,)),
    Step("evaluation", "Step8_Evaluation", "EVALUATION", ("tokenized",), after="retraining",
         versioned=True, models=True,
         about="Compare challenger and champion on the same rows and decide.",
         reads=(CHAMPION,)),
)

BY_NAME = {step.name: step for step in STEPS}

#: The chained jobs, in order of their steps; each step has a job of its own besides.
CHAINS = {
    "training_pipeline_job": ("cleaning", "preprocessing", "tuning", "choosing"),
    "inference_pipeline_job": ("inference_preprocessing", "inference", "sampling"),
    "retraining_pipeline_job": ("cleaning", "preprocessing", "retraining", "evaluation"),
}

JOBS = {**{f"{step.name}_job": (step.name,) for step in STEPS}, **CHAINS}

#: Why labels that people hand in are read each time.
ALWAYS_LABELS = ("labels count by when they were handed in, and go into the table of all batches "
                 "as it stands")

#: Inputs of a job's first step that differ from the table of steps.
DELIVERIES = {"retraining_pipeline_job": {"raw": "labelled"}}

#: What a job's first step takes -> the drop folder below data/ where a file of it may be put, and
#: the key under `data` that names one.
DROP_FOLDERS = {"raw": ("raw_incoming", "source"), "incoming": ("incoming", "incoming"),
                "labelled": ("labelled", "labelled")}


def step_named(name: str) -> Step:
    """Return a step of the table; raises WorkspaceError for an unknown name."""
    if name not in BY_NAME:
        raise WorkspaceError(f"there is no step '{name}'{nearest(name, BY_NAME)}")
    return BY_NAME[name]


def job_named(name: str) -> str:
    """Return a job's full name; 'training_pipeline' and 'cleaning' are accepted, too."""
    for candidate in (name, f"{name}_job", f"{name}_pipeline_job"):
        if candidate in JOBS:
            return candidate
    former = former_names.job(name)
    if former is not None:
        raise WorkspaceError(former)
    near = nearest(name, [job for job in JOBS if job[:3] == name[:3]] or JOBS)
    raise WorkspaceError(f"there is no job '{name}'{near if 'did you mean' in near else '.'} The "
                         f"jobs are: {', '.join(JOBS)}.")


@dataclass(frozen=True)
class DropFolder:
    """A folder in which files are put for a job.

    Attributes:
        name: of the folder below data/, and of the workspace's property.
        key: the key under `data` that names one of its files.
    """

    name: str
    key: str


def drop_folder(job: str) -> DropFolder | None:
    """Return the drop folder from which a job takes its file, if any."""
    renamed = DELIVERIES.get(job, {})
    return next((DropFolder(*DROP_FOLDERS[name]) for name in
                 (renamed.get(n, n) for n in BY_NAME[JOBS[job][0]].takes)
                 if name in DROP_FOLDERS), None)
