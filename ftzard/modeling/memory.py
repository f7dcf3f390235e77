"""How much memory a computation really took, and how much the device has.

On a GPU torch's allocator knows. On the CPU the kernel keeps the high-water mark of the resident
set and lets a process reset its own; where it does not, a thread looks every few milliseconds.
Neither is asked while training computes, so measuring costs nothing.
"""

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ftzard.core import free_memory

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
LOOK_EVERY = 0.02


@dataclass
class Peak:
    """The most memory in use while it was watched, in bytes; None where it cannot be known.

    On the CPU what the process held before `since` does not count; on a GPU all tensors do.
    """

    bytes: int | None = None


@dataclass(frozen=True)
class Device:
    """Where a job would compute: kind is 'cuda' or 'cpu'; bytes, total and free."""

    kind: str
    name: str
    total: int
    free: int


def resident() -> int | None:
    """Return the bytes of this process that are in memory now; None where nobody says."""
    return _status("VmRSS")


@contextmanager
def watched(device: torch.device | str, since: int | None) -> Iterator[Peak]:
    """Measure the peak while the block runs; it is in the yielded Peak afterwards.

    Args:
        since: What `resident()` said before the base was loaded; on the CPU the peak is the growth
            since then.
    """
    peak = Peak()
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device)
    elif since is None:
        yield peak
    elif _reset():
        yield peak
        peak.bytes = max(0, _status("VmHWM") - since)
    else:
        with _looking(peak):
            yield peak
        peak.bytes = max(0, peak.bytes - since)


def unmap(model: torch.nn.Module) -> None:
    """Copy what of a model on the CPU still lies in its file, and give unused memory back.

    One tensor that is left there keeps all pages of the file that were read: after a load in 4
    bit that is eight times what the layers take, and the loading's own scratch comes on top.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.is_floating_point():
            tensor.data = tensor.data.clone()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def device() -> Device:
    """Return the GPU if there is one, else this machine's memory within its limits."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return Device("cuda", torch.cuda.get_device_name(), total, free)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = min((_limit(path) for path in LIMITS), default=None, key=lambda v: v or total)
    total = min(total, limit or total)
    free = min(total, free_memory.of_machine() or total)
    return Device("cpu", f"{os.cpu_count()} CPU cores", total, free)


def _status(key: str) -> int | None:
    """Return a line of /proc/self/status in bytes."""
    if not STATUS.is_file():
        return None
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


def _reset() -> bool:
    """Let the high-water mark begin anew; return whether the system allows it."""
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return _status("VmHWM") is not None


@contextmanager
def _looking(peak: Peak) -> Iterator[None]:
    """Look at the resident set every few milliseconds, where its mark cannot be reset."""
    ended = threading.Event()
    peak.bytes = resident()

    def look() -> None:
        while not ended.wait(LOOK_EVERY):
            peak.bytes = max(peak.bytes, resident())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _limit(path: Path) -> int | None:
    """Return the limit that a container sets, or None if there is none."""
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None
