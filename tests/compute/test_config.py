"""compute=ray: what it needs is asked for before anything runs, and local never imports ray."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from ftzard.compute import ray_jobs
from ftzard.config.compose import compose, resolve
from ftzard.config.effects import idle, refuse_without_effect
from ftzard.errors import ComputeError, ConfigError

RAY = ["compute=ray", "compute.address=http://127.0.0.1:9", "compute.storage=file:///shared"]


def config(*overrides):
    return compose({"overrides": list(overrides)})


def test_a_cluster_needs_an_address_and_a_storage():
    with pytest.raises(ConfigError, match=r"compute.address is None.*\n.*compute.storage is None"):
        config("compute=ray")
    assert config(*RAY).compute.parallel == 2 and config().compute.kind == "local"


@pytest.mark.parametrize(("wrong", "expected"), [
    ("compute.address=ray://head:10001", "compute.address is 'ray://head:10001'"),
    ("compute.storage=/shared", "compute.storage is '/shared'"),
    ("compute.accelerator=A100", "null with compute.gpus=0"),
    ("compute.env=['HF_TOKEN=abc']", "names of variables, without values"),
    ("compute.parallel=0", "compute.parallel is 0"), ("compute.cpus=0", "compute.cpus is 0"),
    ("compute.max_failures=-1", "max_failures is -1"), ("compute.queue_seconds=0", "is 0")])
def test_a_value_that_no_cluster_takes_is_refused(wrong, expected):
    with pytest.raises(ConfigError, match=expected.replace("[", r"\[")):
        config(*(v for v in RAY if v.partition("=")[0] != wrong.partition("=")[0]), wrong)


def test_what_only_a_cluster_uses_is_refused_without_one():
    for job in ("tuning_job", "inference_job", "retraining_job"):
        resolved = resolve({"overrides": ["compute.cpus=2"]}, names=["Launchpad"])
        with pytest.raises(ConfigError, match="compute.cpus=2 has no effect in .*set compute=ray"):
            refuse_without_effect(resolved, job)
    with pytest.raises(ConfigError, match="compute=ray has no effect in cleaning_job"):
        refuse_without_effect(resolve({"overrides": RAY}), "cleaning_job")
    assert "compute.parallel" in idle(config("tuning.trials=1"), "tuning_job")
    assert "compute.parallel" not in idle(config("tuning.trials=2"), "tuning_job")
    refuse_without_effect(resolve({"overrides": RAY}), "training_pipeline_job")


def test_without_the_extra_one_sentence_names_it(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(ray_jobs, "version", missing)
    with pytest.raises(ComputeError, match=r"needs the extra 'ray'.*pip install .*ftzard\[ray\]"):
        ray_jobs.require_installed()


def test_ray_is_imported_only_when_a_cluster_is_opened():
    code = ("import sys, ftzard.compute.cluster, ftzard.compute.shards, ftzard.compute.worker; "
            "print([n for n in sys.modules if n.split('.')[0] == 'ray'])")
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert done.stdout.strip() == "[]", done.stderr
