"""Ray's Jobs API: the only module that imports ray, and only when a cluster is asked for."""

import json
import shlex
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from ftzard.core.credentials import mask
from ftzard.errors import ComputeError

#: Seconds within which an address has to answer.
PATIENCE_S = 10
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


def require_installed() -> str:
    """Return the version of ray here; raises ComputeError without the extra."""
    try:
        installed = version("ray")
        version("aiohttp-cors")  # what only ray[default] brings, and its Jobs API needs
    except PackageNotFoundError as error:
        raise ComputeError(
            "compute=ray needs the extra 'ray', which is not installed; install it with "
            "pip install -c constraints.txt 'ftzard[ray]', or leave compute=local.") from error
    return installed


@dataclass(frozen=True)
class Node:
    """A node of the cluster: its address and what it has in all."""

    address: str
    resources: Mapping[str, float]


@dataclass(frozen=True)
class Job:
    """A job as Ray knows it: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED, why, and where."""

    id: str
    status: str
    message: str = ""
    node: str = ""

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self.status in _ENDED


class RayJobs:
    """The jobs of one cluster."""

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        mine = require_installed()
        theirs = str(self._get("/api/version").get("ray_version"))
        if theirs != mine:
            raise ComputeError(f"the cluster at {self.address} runs ray {theirs}; expected {mine}, "
                               "as here. Install the same constraints.txt on both sides.")
        from ray.job_submission import JobSubmissionClient

        try:
            self._client = JobSubmissionClient(self.address)
        except Exception as error:
            raise self._unreachable(error) from error

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive."""
        summary = self._get("/nodes?view=summary")["data"]["summary"]
        return [Node(node["ip"], node["raylet"].get("resourcesTotal", {})) for node in summary
                if node["raylet"].get("state") == "ALIVE"]

    def find(self, job: str) -> Job | None:
        """Return a job by its id, None if the cluster knows none of this id."""
        try:
            info = self._client.get_job_info(job)
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                return None
            raise self._unreachable(error) from error
        except Exception as error:
            raise self._unreachable(error) from error
        node = urlsplit(info.driver_agent_http_address or "").hostname or ""
        return Job(job, str(info.status.value), mask(str(info.message or "")), node)

    def submit(self, job: str, command: list[str], resources: Mapping[str, Any]) -> None:
        """Start a job; that one of this id is there already is no error."""
        try:
            self._client.submit_job(entrypoint=shlex.join(command), submission_id=job, **resources)
        except Exception as error:
            if self.find(job) is None:
                raise self._unreachable(error) from error

    def stop(self, job: str) -> None:
        """Ask the cluster to end a job; that it has ended already is no error."""
        try:
            self._client.stop_job(job)
        except Exception as error:
            details = self.find(job)
            if details is not None and not details.ended:
                raise self._unreachable(error) from error

    def log(self, job: str) -> str:
        """Return the last lines of what a job printed, without secrets; '' where there is none."""
        try:
            text = self._client.get_job_logs(job)
        except Exception:
            return ""
        return mask(" ".join(text[-2000:].split())[-400:])

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(f"{self.address}{path}")
        for name, value in _headers().items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return json.load(answer)
        except (OSError, ValueError, urllib.error.URLError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> ComputeError:
        reason = mask(" ".join(f"{type(error).__name__}: {error}".split()))[:200]
        return ComputeError(
            f"no Ray cluster answers at compute.address={self.address} ({reason}); expected the "
            "address of its Jobs API, such as http://HOST:8265. Check that the cluster is up and "
            "that this machine reaches it.")


def _headers() -> dict[str, str]:
    """Return what Ray's own client sends with a request, such as a token of the environment."""
    try:
        from ray._private.authentication.http_token_authentication import (
            get_auth_headers_if_auth_enabled,
        )
    except ImportError:
        return {}
    return dict(get_auth_headers_if_auth_enabled({}))
