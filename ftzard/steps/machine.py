"""The machine that a plan is for: this one, or one that a person names by its memory and cores."""

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
    """Another machine than this one.

    device: what would compute; threads: of its CPU, None to take the config's; told: what is
    assumed of it, as a sentence.
    """

    device: Device
    threads: int | None
    told: str


def named(gpu: str | None = None, ram: str | None = None, cpus: int | None = None
          ) -> Machine | None:
    """Return the machine that the options mean, or None if none of them is given.

    gpu, ram: sizes such as '24GB' (of 2**30 bytes, as makers of memory count); cpus: cores of a
    machine without a GPU. Raises ConfigError for what is no size, and for an option that has no
    effect beside another.
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
    found = _SIZE.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise ConfigError(f"{option} is '{text}'; expected a size such as 24GB or 24576MB.")
    unit = GB if (found[2] or "G").upper().startswith("G") else 1 << 20
    return int(float(found[1]) * unit)


def _shown(size: int) -> str:
    return f"{size / GB:,.0f} GB" if size % GB == 0 else f"{size >> 20:,} MB"
