"""What makes a run repeatable: the seeds, the number of threads, the code that computes."""

import hashlib
import platform
import random
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy
import torch

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")


def set_threads(count: int) -> int:
    """Let torch compute with `count` threads; another count rounds differently. Return it."""
    torch.set_num_threads(count)
    return torch.get_num_threads()


def set_seed(seed: int) -> None:
    """Seed every random generator that training draws from (dropout, initial weights)."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@cache
def processor() -> str:
    """Return what decides how sums are rounded: the GPU, or the CPU's model and instructions.

    With the same seed and threads, another processor adds up in another order: weights differ in
    their last digits.
    """
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info, parts = Path("/proc/cpuinfo"), [platform.machine()]
    if info.is_file():
        of_first = info.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        values = dict(re.findall(r"^(.+?)\s*:[ \t]*(.*)$", of_first, re.MULTILINE))
        parts = [f"{name} {values[name]}" for name in ("cpu family", "model") if name in values]
        parts.insert(0, values.get("model name", platform.machine()))
    return ", ".join([*parts, torch.backends.cpu.get_cpu_capability()])


#: The packages whose code decides what a training computes.
COMPUTES = ("modeling", "training", "tasks")


@cache
def made_with() -> dict[str, str]:
    """Return what training is computed by: the versions of its libraries and a hash of this code.

    A state that was kept by other code is not gone on from: it may mean something else by now.
    """
    code = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(path for room in COMPUTES for path in (package / room).rglob("*.py")):
        code.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return {name: version(name) for name in LIBRARIES} | {"code": code.hexdigest()[:16]}
