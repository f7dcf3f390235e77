"""Which values have an effect in which job: a value that is given for a job has one, or is refused.

`READ_BY` names the steps that read each key. A step of two kinds, cleaning, counts as `labels` when
it takes what people handed in. What other values leave without an effect stands in `idle`.
"""

from collections.abc import Iterator

from ftzard.config.compose import DEFAULT, OVERRIDE, Resolved, to_record
from ftzard.config.pipeline import DELIVERIES, JOBS
from ftzard.config.requests import leaves
from ftzard.config.schema import SEARCHED, Config
from ftzard.errors import ConfigError

#: The Launchpad as a source; ftzard.yaml, presets and files serve all jobs and are never refused.
LAUNCHPAD = "Launchpad"

_JUDGED = "choosing evaluation"
_TRAINED = "tuning retraining"
_MODELS = f"{_TRAINED} {_JUDGED}"
_RAW = "cleaning inference_preprocessing"
_SIDES = "preprocessing inference_preprocessing"
_ALL = "cleaning labels preprocessing inference_preprocessing tuning choosing inference sampling " \
       "retraining evaluation"
_VERSIONED = _ALL.replace("tuning ", "")

#: The steps that read each key; `sensors` are what starts jobs by itself, `labeling` is
#: `ftzard label`, `notices` whoever notifies people, `labelled` the cleaning
#: of a job that takes no other file than one with labels.
READ_BY: dict[str, str] = {
    "data.source": "cleaning",
    "data.incoming": "inference_preprocessing",
    "data.labelled": "labelled",
    "data.mix": "cleaning",
    "data.text_column": _RAW,
    "data.input_column": _RAW,
    "data.messages_column": _RAW,
    "data.ignored_columns": _RAW,
    "data.label_column": "cleaning",
    "data.group_column": _RAW,
    "data.split_column": "cleaning",
    "data.encoding": _RAW,
    "data.delimiter": _RAW,
    "data.quoting": _RAW,
    "data.labels": "cleaning labels",
    "data.sample_rows": "cleaning",
    "data.sample_stratified": "cleaning",
    "data.split": "cleaning preprocessing",
    "data.train_share": _SIDES,
    "data.validation_share": _SIDES,
    "data.test_share": _SIDES,
    "data.salt": _SIDES,
    "data.mention": "cleaning tuning choosing retraining",
    "data.link": "cleaning tuning choosing retraining",
    "data.clean": "cleaning tuning choosing retraining",
    "data.max_characters": f"{_RAW} tuning choosing retraining",
    "data.min_rows": "cleaning",
    "data.max_rejected": f"{_RAW} preprocessing",
    "data.trust_joblib": _JUDGED,
    "task.kind": _ALL,
    "task.abstain_below": "choosing retraining",
    "task.instructions.template": f"preprocessing {_MODELS}",
    "task.instructions.packing": _TRAINED,
    "task.instructions.score": _JUDGED,
    "task.instructions.max_new_tokens": _MODELS,
    "task.instructions.generated_rows": f"{_JUDGED} inference",
    "model.name": f"preprocessing {_MODELS}",
    "model.source": f"preprocessing {_MODELS}",
    "model.revision": f"preprocessing {_MODELS}",
    "model.build.layers": "preprocessing",
    "model.build.width": "preprocessing",
    "model.build.heads": "preprocessing",
    "model.build.vocabulary": "preprocessing",
    "model.build.seed": "preprocessing",
    "model.gated": _MODELS,
    "model.quantisation": _MODELS,
    "model.double_quantisation": _MODELS,
    "model.compute_dtype": _MODELS,
    "model.attention": _MODELS,
    "model.lora_targets": _MODELS,
    "model.train_embeddings": _TRAINED,
    "model.max_length": f"preprocessing {_MODELS}",
    "training.method": _TRAINED,
    "training.optimizer": _TRAINED,
    "training.micro_batch_tokens": _TRAINED,
    "training.gradient_checkpointing": _TRAINED,
    "training.epochs": "tuning",
    "training.learning_rate": "tuning",
    "training.batch_size": "tuning",
    "training.weight_decay": "tuning",
    "training.rank": "tuning",
    "training.alpha_ratio": "tuning",
    "training.dropout": "tuning",
    "training.class_weights": "tuning",
    "training.learning_rate_range": "tuning",
    "training.allow_unusual": "tuning",
    "training.warmup_ratio": _TRAINED,
    "training.max_grad_norm": _TRAINED,
    "training.patience": _TRAINED,
    "training.checkpoint_steps": _TRAINED,
    "tuning.trials": "tuning",
    "tuning.prune": "tuning",
    "tuning.metric": _TRAINED,
    "tuning.rank": "tuning",
    "tuning.batch_size": "tuning",
    "tuning.learning_rate": "tuning",
    "tuning.weight_decay": "tuning",
    "tuning.dropout": "tuning",
    "sampling.strategy": "sampling",
    "sampling.budget": "sampling evaluation",
    "sampling.predict_gain": "evaluation",
    "sampling.quantile": "sampling",
    "sampling.random_share": "sampling",
    "sampling.audit_rows": "sampling",
    "sampling.show_suggestions": "sampling",
    "sampling.overlap": "labeling",
    "sampling.min_labelled": "labels sensors",
    "drift.false_alarms": "inference",
    "drift.clearing": "inference",
    "drift.estimate_accuracy": "inference",
    "retraining.trigger": "sensors",
    "retraining.min_accuracy": "sensors",
    "retraining.start": "retraining",
    "retraining.replay_ratio": "retraining",
    "retraining.epochs": "retraining",
    "retraining.learning_rate_ratio": "retraining",
    "gate.min_gain": _JUDGED,
    "gate.confidence": _JUDGED,
    "gate.resamples": _JUDGED,
    "gate.min_rows": _JUDGED,
    "gate.max_class_loss": _JUDGED,
    "gate.max_forgetting": _JUDGED,
    "gate.baseline_veto": _JUDGED,
    "gate.first_baseline_margin": _JUDGED,
    "gate.first_calibration_error": _JUDGED,
    "gate.trial": "choosing evaluation retraining",
    "gate.error_budget": _JUDGED,
    "gate.rounds": _JUDGED,
    "gate.label_noise": _JUDGED,
    "gate.doubtful_labels": _JUDGED,
    "tracking.uri": _ALL,
    "tracking.experiment": _ALL,
    "tracking.registered_model": _ALL.replace("cleaning labels ", ""),
    "tracking.mirror": _ALL,
    "notify.events": "notices",
    "notify.row_texts": "notices",
    "paths.cleaned": "cleaning labels preprocessing sampling",
    "paths.rejected": "cleaning labels",
    "paths.tokenized": f"{_SIDES} {_MODELS} sampling",
    "paths.incoming_tokenized": "inference_preprocessing inference",
    "paths.predictions": "inference sampling",
    "paths.queue": "sampling",
    "paths.min_free_mb": _ALL,
    "versioning.push": _VERSIONED,
    "versioning.require_push": _VERSIONED,
    "compute.parallel": "tuning inference",
    **{f"compute.{name}": "tuning inference retraining" for name in (
        "kind", "address", "storage", "cpus", "gpus", "accelerator", "memory_mb", "env",
        "python", "max_failures", "queue_seconds")},
    "seed": f"cleaning inference sampling {_MODELS}",
    "threads": f"inference sampling {_MODELS}",
    "metrics": _JUDGED,
}

#: Keys of `compute` that only a cluster has a use for.
ON_A_CLUSTER = ("address", "storage", "cpus", "gpus", "accelerator", "memory_mb", "env", "python",
                "max_failures", "queue_seconds")

_LABELS = ("classification", "multi_label")
#: What one step reads with some tasks only.
_FOR_TASK = {
    ("data.max_characters", "inference_preprocessing"): ("instruction_tuning",),
    ("data.max_characters", "tuning"): _LABELS,
    ("data.max_characters", "retraining"): _LABELS,
    ("data.max_rejected", "preprocessing"): ("instruction_tuning",),
    ("data.mention", "cleaning"): _LABELS,
    ("data.link", "cleaning"): _LABELS,
    ("data.mention", "tuning"): _LABELS,
    ("data.link", "tuning"): _LABELS,
    ("data.mention", "retraining"): _LABELS,
    ("data.link", "retraining"): _LABELS,
    **{(f"gate.{name}", step): _LABELS for step in ("choosing", "evaluation")
       for name in ("max_class_loss", "first_baseline_margin")},
    **{(f"gate.{name}", step): ("classification",) for step in ("choosing", "evaluation")
       for name in ("first_calibration_error", "label_noise", "doubtful_labels")},
    ("drift.estimate_accuracy", "inference"): ("classification",),
    ("sampling.budget", "evaluation"): ("classification",),
    ("sampling.predict_gain", "evaluation"): ("classification",),
    ("task.abstain_below", "choosing"): ("classification",),
    ("task.abstain_below", "retraining"): ("classification",),
}

#: What a retraining takes from the champion's record, and what to set instead.
_ANEW = ("a retraining takes the champion's value; train anew with training_pipeline_job to change "
         "it")
INSTEAD = {
    "training.epochs": "a retraining takes retraining.epochs; set that",
    "training.learning_rate": "a retraining takes the champion's learning rate times "
                              "retraining.learning_rate_ratio; set that",
    "training.batch_size": _ANEW,
    "training.weight_decay": _ANEW,
    "training.rank": _ANEW,
    "training.alpha_ratio": _ANEW,
    "training.dropout": _ANEW,
    "training.class_weights": _ANEW,
}


def steps_of(job: str) -> set[str]:
    """Return the steps of a job as `READ_BY` names them."""
    steps = set(JOBS[job])
    if job == "cleaning_job":
        steps.add("labels")  # of a file in data/labelled
    if DELIVERIES.get(job, {}).get("raw") == "labelled":
        steps = steps - {"cleaning"} | {"labels", "labelled"}
    return steps


def read_by(key: str, task: str = "classification") -> set[str]:
    """Return the steps that read a key in workspaces of a task."""
    return {step for step in READ_BY[key].split()
            if task in _FOR_TASK.get((key, step), (task,))}


def keys_of(job: str, task: str | None = None) -> set[str]:
    """Return the keys that have an effect in a job; task: None takes those of any task."""
    kinds = (task,) if task else (*_LABELS, "instruction_tuning")
    return {key for key in READ_BY if any(read_by(key, kind) & steps_of(job) for kind in kinds)}


def refuse_without_effect(resolved: Resolved, job: str) -> None:
    """Raise ConfigError, a line per value, for each value given that this job would ignore."""
    lines = [*_idle_choices(resolved, job), *(
        f"{key}={value} has no effect in {job}: {why}."
        for key, value, why in without_effect(resolved, job)
        if resolved.sources[key] in (OVERRIDE, LAUNCHPAD))]
    if lines:
        raise ConfigError("\n".join(lines))


def without_effect(resolved: Resolved, job: str) -> list[tuple[str, object, str]]:
    """Return (key, value, why) of every value that is no default and has no effect in a job.

    A value for other jobs, from a file that serves them all, is no finding.
    """
    task, values = resolved.config.task.kind, leaves(to_record(resolved.config))
    effective, never = keys_of(job, task), idle(resolved.config, job)
    idle_values = []
    for key, value in values.items():
        source = resolved.sources[key]
        if source == DEFAULT or source.startswith("preset "):
            continue
        if key in ("model.build", "task.instructions"):  # null, which says that there is none
            continue
        if key not in effective and (source in (OVERRIDE, LAUNCHPAD) or key in INSTEAD and (
                "retraining" in JOBS[job])):
            idle_values.append((key, value, _why(key, job, task)))
        elif key in effective and key in never:
            idle_values.append((key, value, never[key]))
    return idle_values


def _why(key: str, job: str, task: str) -> str:
    if "retraining" in JOBS[job] and key in INSTEAD:
        return INSTEAD[key]
    steps = read_by(key, task)
    others = [name for name in JOBS if steps & steps_of(name)]
    if steps == {"sensors"}:
        return "sensors read it from ftzard.yaml; set it there"
    if steps == {"notices"}:
        return "it is read from ftzard.yaml, for all jobs; set it there"
    if steps == {"labeling"}:
        return "'ftzard label' reads it from ftzard.yaml; set it there"
    if not others:
        return f"no step reads it with task={task}; leave it out"
    return (f"it has one in {', '.join(others)}; leave it out, or set it in ftzard.yaml, which "
            "serves all jobs")


def _idle_choices(resolved: Resolved, job: str) -> Iterator[str]:
    """Yield a sentence for every group of which a run chose a file that this job never reads."""
    effective = {key.partition(".")[0] for key in keys_of(job, resolved.config.task.kind)}
    for group, (choice, source) in resolved.choices.items():
        if source in (OVERRIDE, LAUNCHPAD) and group not in effective:
            yield (f"{group}={choice} has no effect in {job}: none of its steps reads this group; "
                   "leave it out, or set it in ftzard.yaml, which serves all jobs.")


def idle(config: Config, job: str) -> dict[str, str]:
    """Return why a key has no effect with the config's other values, for each such key."""
    data, training, tuning, sampling = (config.data, config.training, config.tuning,
                                        config.sampling)
    reasons: dict[str, str] = {}
    if "tuning" in JOBS[job]:
        reasons |= _searched(config)
        if tuning.trials == 1:
            reasons["tuning.prune"] = ("one trial has no other to be compared with; set "
                                       "tuning.trials")
            reasons |= _of_one_trial(config)
            if "inference" not in JOBS[job]:
                reasons["compute.parallel"] = "one trial runs alone; set tuning.trials"
    if training.method == "full":
        for key in ("training.rank", "training.alpha_ratio", "training.dropout", "tuning.rank",
                    "tuning.dropout", "model.lora_targets", "model.train_embeddings"):
            reasons[key] = "training.method=full trains every weight and has no adapter"
    if config.model.quantisation != "nf4":
        reasons["model.double_quantisation"] = (
            f"only the scales of nf4 can be quantised, and model.quantisation is "
            f"{config.model.quantisation}")
    if sampling.strategy != "mix":
        reasons["sampling.random_share"] = (
            f"it is the share of sampling.strategy=mix, and that is {sampling.strategy}")
    if config.gate.error_budget is None:
        reasons["gate.rounds"] = "its rounds share gate.error_budget, and that is null"
    if data.split != "given":
        reasons["data.split_column"] = "it is read with data.split=given, and that is text"
    if data.sample_rows is None and data.mix is None:
        reasons["data.sample_stratified"] = "no sample is taken; set data.sample_rows"
    if config.compute.kind == "local":
        reasons |= dict.fromkeys((f"compute.{name}" for name in ON_A_CLUSTER),
                                 "it is for a cluster, and compute is local; set compute=ray")
        if "tuning" not in JOBS[job]:
            reasons["compute.parallel"] = "it is the number of trials, or of jobs with compute=ray"
    if data.mix is not None:
        reasons["data.sample_stratified"] = "the shares of a mix are those of its weights"
    return reasons


def _of_one_trial(config: Config) -> Iterator[tuple[str, str]]:
    """Yield spaces that the one trial leaves alone, since the value of `training` is within."""
    outside = {key for key, _ in _searched(config)}
    for name in SEARCHED:
        space = getattr(config.tuning, name)
        if space and len(set(space)) > 1 and f"training.{name}" not in outside:
            yield (f"tuning.{name}", f"with tuning.trials=1 the one trial takes training.{name}="
                   f"{getattr(config.training, name)}; set tuning.trials")


def _searched(config: Config) -> Iterator[tuple[str, str]]:
    """Yield values of `training` that the search replaces and that lie outside of its space."""
    for name in SEARCHED:
        space, value = getattr(config.tuning, name), getattr(config.training, name)
        if not space:
            continue
        ordered = name in ("learning_rate", "weight_decay", "dropout") and len(space) == 2
        inside = space[0] <= value <= space[1] if ordered else value in space
        if not inside:
            yield (f"training.{name}", f"it is searched in tuning.{name}={space}, where this value "
                   f"is not; set tuning.{name}=null to take it, or another space")


def offered(job: str) -> dict[str, set[str]]:
    """Return the names that a job's Launchpad offers, by their group or part; '' is the top."""
    names_of: dict[str, set[str]] = {"": set()}
    for key in keys_of(job):
        parts = key.split(".")
        names_of[""].add(parts[0])
        for depth in range(1, len(parts)):
            names_of.setdefault(".".join(parts[:depth]), set()).add(parts[depth])
    return names_of
