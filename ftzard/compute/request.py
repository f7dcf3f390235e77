"""A request: which function, with which values and inputs, computed by which code.

Its id is the hash of all that, so the same work has the same id wherever it is asked for again.
"""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ftzard.compute.storage import canonical

#: What is computed -> the function on the node: (values, {input: path}, Work) -> values.
FUNCTIONS = {
    "fit": "ftzard.tasks.on_node:fit_request",
    "predict_rows": "ftzard.tasks.on_node:predict_request",
    "predict_lines": "ftzard.registry.cluster_lines:predict_request",
}
#: Packages whose versions decide what is computed.
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "tokenizers", "numpy", "pandas",
            "pyarrow", "ray")


@cache
def runtime() -> dict[str, str]:
    """Return what must be the same here and on a node: Python, packages, and a hash of our code."""
    package, code = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        code.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            versions[name] = version(name).partition("+")[0]  # +cpu and +cu126 are one version
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions | {"FTzard's code": code.hexdigest()[:16]}


def other_runtime(wanted: Mapping[str, str]) -> str | None:
    """Return a sentence if this process is not what a request was made for, else None."""
    here = runtime()
    other = [f"{name} {value}, expected {wanted.get(name)}" for name, value in here.items()
             if wanted.get(name) != value]
    if not other:
        return None
    return (f"the node {platform.node()} has other versions than the machine that asks: "
            f"{'; '.join(other)}. Install the same constraints.txt and the same FTzard there.")


@dataclass(frozen=True)
class Request:
    """What a node is asked for.

    Attributes:
        function: a name of `FUNCTIONS`.
        values: its values, as JSON takes them; no path and no secret among them.
        inputs: per input the SHA-256 of a file, or of every file of a folder by its path in it.
        env: names of variables that the node must have.
    """

    function: str
    values: dict[str, Any]
    inputs: dict[str, str | dict[str, str]]
    env: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all that the hash is made of."""
        return {"function": self.function, "values": self.values, "inputs": self.inputs,
                "env": list(self.env), "runtime": runtime()}

    @cached_property
    def content(self) -> bytes:
        """The request as its file."""
        return canonical(self.to_dict()).encode()

    @cached_property
    def id(self) -> str:
        """The hex SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def folder(self) -> str:
        """Where its file and its results are in the storage."""
        return f"requests/{self.id}"
