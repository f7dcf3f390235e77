"""The machine that an estimate is for: this one, or another by its memory and cores."""

import re
from dataclasses import dataclass

from ftzard.errors import ConfigError
from ftzard.modeling.memory import Device, device

GB = 1 << 30
#: What CUDA itself keeps of a GPU's memory, whatever runs on it.
CONTEXT = 512 << 20
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(GB|GiB|G|MB|MiB|M)?", re.IGNORECASE)


@dataclass(frozen=True)
class Machine:
    """A machine other than this one.

    Attributes:
        device: the device that would compute.
        threads: of its CPU; None is the config's.
        assumption: what the estimate assumes of it, as a sentence.
    """

    device: Device
    threads: int | None
    assumption: str


def named(gpu: str | None = None, ram: str | None = None, cpus: int | None = None
          ) -> Machine | None:
    """Return the machine that the options describe, or None without options.

    Args:
        gpu: memory of its GPU, such as '24GB' (of 2**30 bytes).
        ram: memory of a machine without a GPU.
        cpus: cores of a machine without a GPU.

    Raises:
        ConfigError: for an invalid size, and for an option without effect beside another.
    """
    if gpu is not None:
        for option, value in (("--ram", ram), ("--cpus", cpus)):
            if value is not None:
                raise ConfigError(f"{option} has no effect beside --gpu: with a GPU, its memory "
                                  "and its speed decide. Leave one of them out.")
        total = size(gpu, "--gpu")
        return Machine(
            Device("cuda", f"a GPU of {_shown(total)}", total, max(0, total - CONTEXT)), None,
            f"a GPU of {_shown(total)} with nothing else on it; {CONTEXT >> 20} MB are CUDA's own")
    if ram is None and cpus is None:
        return None
    if cpus is not None and cpus < 1:
        raise ConfigError(f"--cpus is {cpus}; expected at least 1.")
    here = device()
    total = size(ram, "--ram") if ram is not None else here.total
    cores = f"{cpus} CPU cores" if cpus else f"{_shown(total)} of memory and no GPU"
    return Machine(
        Device("cpu", f"a machine with {cores}", total, total), cpus,
        f"a machine with {_shown(total)} of memory, all of it free"
        + ("" if ram is not None else ", as much as this one has")
        + (f", which computes with {cpus} threads" if cpus else ""))


def size(text: str, option: str) -> int:
    """Return the bytes that '24GB' means; raises ConfigError naming the option for anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise ConfigError(f"{option} is '{text}'; expected a size such as 24GB or 24576MB.")
    unit = GB if (match[2] or "G").upper().startswith("G") else 1 << 20
    return int(float(match[1]) * unit)


def _shown(size: int) -> str:
    return f"{size / GB:,.0f} GB" if size % GB == 0 else f"{size >> 20:,} MB"
