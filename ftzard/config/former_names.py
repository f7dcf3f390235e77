"""Names of jobs, ops and resources of the system that this one replaces.

They are refused, since their configuration differs, with the name that does the same here.
"""

from collections.abc import Collection

#: A former resource -> those that do its work now: which of them depends on the job.
RESOURCES = {
    "raw_data_input_manager": ("raw_input_manager", "incoming_input_manager"),
    "io_manager_cd": ("cleaned_io_manager", "cleaned_input_manager"),
    "io_manager_td": ("tokenized_io_manager", "incoming_tokenized_io_manager"),
    "io_manager_ds": ("tokenized_input_manager", "incoming_tokenized_input_manager"),
    "io_manager_pl": ("predictions_io_manager",),
    "io_manager_pd": ("predictions_input_manager",),
    "io_manager_rd": ("queue_io_manager",),
    "io_manager_sd": ("labelled_input_manager",),
}
_STEPS = {"1": "cleaning", "2": "preprocessing", "2_1": "inference_preprocessing", "3": "tuning",
          "4": "choosing", "5": "inference", "6": "sampling", "7": "retraining", "8": "evaluation"}
RESOURCES |= {f"io_manager_step{number}_metadata": (f"{step}_metadata_io_manager",)
              for number, step in _STEPS.items()}
#: What Git_Dvc was handed: the metadata of whichever step it followed.
GIT_DVC = "io_manager_metadata"
RESOURCES[GIT_DVC] = tuple(f"{step}_metadata_io_manager" for step in _STEPS.values())

#: A former job or op (without its ending), MLflow run or notebook -> the job that does it now.
_JOBS = {
    "cleaning": ("data_cleaner", "data_cleaning"),
    "preprocessing": ("data_preprocessor", "data_preprocessing", "data_processing"),
    "inference_preprocessing": ("data_inference_preprocessor", "inference_data_preprocessor",
                                "inference_preprocessor", "inference_data_processing"),
    "tuning": ("hp_trainer", "hp_tuning", "hyperparam_tuning", "hyperparameter_tuning"),
    "choosing": ("model_logger", "choose_best_model", "choosebestmodel"),
    "inference": ("data_inference", "data_inferencing"),
    "sampling": ("sampler", "data_sampling"),
    "retraining": ("retrainer",),
}
_BY_FORMER = {former: step for step, names in _JOBS.items() for former in names}
VERSIONING = ("dvc_logger", "git_dvc")


def step(name: str) -> str | None:
    """Return the step that replaces a former job, op, run or notebook, or None."""
    return _BY_FORMER.get(_plain(name))


def job(name: str) -> str | None:
    """Return a sentence about a former job or op, or None for any other name."""
    if _plain(name) in VERSIONING:
        return (f"'{name}' is no job here: Git_Dvc follows every step that yields data by itself, "
                "in that step's job; what could not be pushed goes out with 'ftzard push'.")
    now = step(name)
    if now is None:
        return None
    more = ("; with new labels it is retraining_pipeline_job, which cleans and tokenizes them first"
            if now == "retraining" else "")
    return f"'{name}' is called {now}_job here{more}."


def resource(name: str, own: Collection[str] | None) -> str | None:
    """Return a sentence about a former resource, or None for any other name.

    Args:
        own: The resources of the job that the YAML is for; None if that is not known.
    """
    now = RESOURCES.get(name)
    if now is None:
        return None
    here = [known for known in now if own is None or known in own]
    if name == GIT_DVC:
        return (f"'{name}' is called {' or '.join(here or now)} here, which Git_Dvc takes by "
                "itself: one entry for it is enough")
    if here:
        return f"'{name}' is called {' or '.join(here)} here"
    return f"'{name}' is called {' or '.join(now)} here, which this job does not have: leave it out"


def _plain(name: str) -> str:
    """Return a name without its step's number and its kind, in lower case."""
    name = name.strip().lower().replace(" ", "_").replace("-", "_")
    for ending in (".ipynb", "_job", "_op", "_graph"):
        name = name.removesuffix(ending)
    head, _, rest = name.partition("_")
    return rest if head.startswith("step") and rest else name
