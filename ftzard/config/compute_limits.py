"""What the values of `compute` must look like, and what a cluster needs of them."""

import re
from collections.abc import Iterator
from typing import Any

from ftzard.config.schema import Compute


def of(compute: Compute) -> Iterator[tuple[str, Any, bool, str]]:
    """Yield what a cluster needs, and what its address and its storage must look like."""
    ray = compute.kind == "ray"
    yield ("compute.address", compute.address, not ray or bool(
        re.fullmatch(r"https?://[^\s/]+/?", compute.address or "")),
        "the address of the cluster's Jobs API, such as http://HOST:8265, with compute=ray")
    yield ("compute.storage", compute.storage, not ray or bool(
        re.fullmatch(r"[a-z][a-z0-9+.]*://\S+", compute.storage or "")),
        "an URL that this machine and all nodes reach, such as s3://BUCKET/FOLDER or "
        "file:///shared/FOLDER, with compute=ray")
    yield ("compute.accelerator", compute.accelerator,
           compute.accelerator is None or compute.gpus > 0, "null with compute.gpus=0")
    yield ("compute.env", compute.env, all(
        re.fullmatch(r"[A-Za-z_]\w*", name) for name in compute.env or ()),
        "names of variables, without values, or null")
