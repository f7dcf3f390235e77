"""The machine: config, disk, GPU, packages, copies of the notebooks."""

import ctypes
import re
import tempfile
from importlib import metadata
from pathlib import Path

import ftzard
from ftzard.config.schema import DEFAULT_TASK
from ftzard.core.notebook_hash import notebook_hash
from ftzard.doctor.finding import OK, WARNING, WRONG, Finding, counted, listed, settings
from ftzard.errors import ConfigError
from ftzard.workspace import disk as space
from ftzard.workspace import notebook_copies
from ftzard.workspace.workspace import MARKER, Workspace


def config(place: Workspace) -> list[Finding]:
    """ftzard.yaml: whether it is readable and all keys exist."""
    try:
        place.config()
    except (ConfigError, OSError, ValueError) as error:
        problems = "; ".join(str(error).splitlines())
        return [Finding("config", WRONG, f"{MARKER}: {problems} (The packaged values are taken for "
                                         "what follows.)", f"edit {place.root / MARKER}")]
    return [Finding("config", OK, f"{MARKER} can be read.")]


def disk(place: Workspace) -> list[Finding]:
    """Free space of the workspace and of temporary files."""
    least = settings(place).paths.min_free_mb * space.MB
    findings = []
    folders = [place.root]
    if not space.same_disk(place.root, Path(tempfile.gettempdir())):
        folders.append(Path(tempfile.gettempdir()))
    for folder in folders:
        free = space.free(folder)
        if free < least:
            findings.append(Finding(
                "disk", WRONG, f"{space.shown(free)} free in {folder}; no step begins below "
                               f"{space.shown(least)} (paths.min_free_mb).",
                f"rm -r {place.cache} {place.executed} (both are made again), or free space"))
    return findings or [Finding("disk", OK, "; ".join(
        f"{space.shown(space.free(folder))} free in {folder}" for folder in folders) + ".")]


def gpu(place: Workspace) -> list[Finding]:
    """The GPU and its driver, and whether the workspace's model needs one."""
    model = settings(place).model
    needs = model.build is None
    try:
        driver, devices = graphics()
    except OSError as error:
        if not needs:
            return [Finding("GPU", OK, f"none, and {model.name} needs none.")]
        return [Finding("GPU", WARNING, f"{model.name} is meant for a GPU, and there is none "
                                        f"({error}): a training would take days.",
                        "ftzard run … model=falcon_tiny, or another machine")]
    names = listed([f"{name} with {memory // space.MB:,} MB" for name, memory in devices])
    if metadata.version("torch").endswith("+cpu"):
        return [Finding("GPU", WARNING if needs else OK,
                        f"{names}, driver {driver}; but this torch is built for the CPU.",
                        f"pip install --force-reinstall torch=={_public('torch')} (with CUDA)"
                        if needs else None)]
    return [Finding("GPU", OK, f"{names}, driver {driver}.")]


def graphics() -> tuple[str, list[tuple[str, int]]]:
    """Return the driver's version and (name, bytes of memory) of each NVIDIA GPU.

    Asks the driver's own library, which is what nvidia-smi does. Raises OSError without one.
    """
    library = ctypes.CDLL("libnvidia-ml.so.1")
    library.nvmlErrorString.restype = ctypes.c_char_p

    def ask(name: str, *arguments) -> None:
        code = getattr(library, name)(*arguments)
        if code != 0:
            raise OSError(f"{name}: {library.nvmlErrorString(code).decode()}")

    ask("nvmlInit_v2")
    try:
        text, count = ctypes.create_string_buffer(96), ctypes.c_uint()
        ask("nvmlSystemGetDriverVersion", text, ctypes.c_uint(96))
        driver, devices = text.value.decode(), []
        ask("nvmlDeviceGetCount_v2", ctypes.byref(count))
        for index in range(count.value):
            device, memory = ctypes.c_void_p(), (ctypes.c_ulonglong * 3)()
            ask("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
            ask("nvmlDeviceGetName", device, text, ctypes.c_uint(96))
            ask("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
            devices.append((text.value.decode(), memory[0]))
        return driver, devices
    finally:
        library.nvmlShutdown()


def packages(place: Workspace) -> list[Finding]:
    """Installed versions against constraints.txt in a checkout, else against the requirements."""
    constraints = Path(ftzard.__file__).parents[1] / "constraints.txt"
    if constraints.is_file():
        wanted = requirements(constraints.read_text(encoding="utf-8").splitlines())
        direct = {name for name, *_ in requirements(
            constraints.with_name("requirements.txt").read_text(encoding="utf-8").splitlines())}
        remedy = f"pip install -c {constraints} -r {constraints.with_name('requirements.txt')}"
        what = "constraints.txt"
    else:
        wanted = requirements(metadata.requires("ftzard") or [])
        direct = {name for name, *_ in wanted}
        remedy, what = "pip install --force-reinstall ftzard", "the package's requirements"
    missing, other = [], []
    for name, relation, version in wanted:
        installed = _public(name)
        if installed is None:
            missing += [name] if name in direct else []
        elif not fits(installed, relation, version):
            other.append(f"{name} {installed} (not {relation.replace('==', '')}{version})")
    if missing:
        return [Finding("packages", WRONG, f"{listed(missing)} is not installed.", remedy)]
    if other:
        return [Finding("packages", WARNING, f"{listed(other)}: other than {what} says; results "
                                             "may differ.", remedy)]
    return [Finding("packages", OK, f"as {what} says.")]


def requirements(lines: list[str]) -> list[tuple[str, str, str]]:
    """Return (name, '==' or '>=', version) of requirement lines; extras' lines are not taken."""
    required = []
    for line in lines:
        match = re.match(r"([\w.-]+)\s*(==|>=)\s*([\w.!]+)", line)
        if match and "extra ==" not in line:
            required.append((match[1].lower(), match[2], match[3]))
    return required


def fits(installed: str, relation: str, wanted: str) -> bool:
    """Return whether a version meets a requirement; '>=' compares the numbers in it."""
    if relation == "==":
        return installed == wanted
    numbers = [[int(n) for n in re.findall(r"\d+", v)] for v in (installed, wanted)]
    return numbers[0] >= numbers[1]


def _public(name: str) -> str | None:
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def notebooks(place: Workspace) -> list[Finding]:
    """The workspace's copies of the notebooks: edited ones, and those of another release."""
    try:
        task = place.task
    except (ConfigError, OSError, ValueError):
        task = None
    torn = [name for name in sorted(notebook_copies.packaged(task or DEFAULT_TASK))
            if (place.notebooks / name).is_file() and not _readable(place.notebooks / name)]
    if torn:
        return [Finding("notebooks", WRONG, f"{listed(torn)}: not a readable notebook.",
                        f"git restore {' '.join(f'notebooks/{name}' for name in torn)}")]
    if task is None:
        return [Finding("notebooks", OK, f"not compared: {MARKER} cannot be read.")]
    findings = [Finding("notebooks", WRONG, str(copy),
                        f"mv {copy.path} {copy.path.removesuffix('.ipynb')}.mine.ipynb && "
                        "ftzard init .") for copy in notebook_copies.outdated(place)]
    unedited = notebook_copies.unedited(place)
    if unedited:
        findings.append(Finding(
            "notebooks", WARNING, f"{counted(len(unedited), 'unedited copy', 'unedited copies')} "
                                  f"of another release: {listed(unedited)}; the next run replaces "
                                  "those that it uses.",
            f"ftzard doctor --fix -w {place.in_shell}",
            lambda: f"{counted(len(notebook_copies.update(place)[0]), 'notebook')} replaced"))
    edited = notebook_copies.edited(place)
    own = f"{counted(len(edited), 'notebook')} differ from the packaged: {listed(edited)}."
    return findings or [Finding("notebooks", OK, own if edited else "as packaged.")]


def _readable(notebook: Path) -> bool:
    try:
        notebook_hash(notebook)
    except (ValueError, KeyError, TypeError):
        return False
    return True
