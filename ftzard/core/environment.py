"""Environment variables of all processes that FTzard starts."""

#: Waiting threads of torch sleep after a short spin. Without the sleep two training processes on
#: the same cores slow each other down many times; without the spin one alone takes 1.4 times as
#: long. And torch's compiler is off: bitsandbytes would load it for functions that its kernels of 4
#: and 8 bits do not call on a CPU, which takes a third of the time of all imports.
SPARING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "TORCHDYNAMO_DISABLE": "1"}

#: What every process of ours has in its environment: quiet, local, and sparing with the CPU.
QUIET = {
    **SPARING,
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Ten processes for MLflow's own jobs (evaluations by LLMs), none of which we have.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "PYTHONWARNINGS": "ignore::RuntimeWarning:dagster._core.execution.context_creation_job",
}
