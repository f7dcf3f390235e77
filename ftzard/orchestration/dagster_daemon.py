"""Dagster's daemon, without a fresh code server every minute.

Dagster's daemon loads its workspace again every 60 seconds, with a new code server each time; the
one before stays as long as a run that it has started, 140 MB each. The code of a code location is
an installed package here, and what a workspace changes (its config, notebooks and functions) is
read by each run, whose process imports it anew. So a code server stays until it has ended. Run as a
module, this is the command `dagster-daemon`.
"""

from dagster._core.remote_representation.grpc_server_registry import (
    GrpcServerRegistry,
    ServerRegistryEntry,
)
from dagster._daemon import controller
from dagster._daemon.cli import main

#: Seconds without a sign of the daemon after which a code server ends. It must not end because the
#: machine is busy; if the daemon is killed, the guard of `ftzard ui` ends it at once.
PATIENCE_S = 90


def forget_ended(registry: GrpcServerRegistry) -> None:
    """Make a registry start a new code server only in place of one that has ended or failed."""
    with registry._lock:
        for origin, entry in list(registry._active_entries.items()):
            if not (isinstance(entry, ServerRegistryEntry)
                    and entry.process.server_process.poll() is None):
                del registry._active_entries[origin]


if __name__ == "__main__":
    GrpcServerRegistry.clear_all_grpc_endpoints = forget_ended
    controller.DAEMON_GRPC_SERVER_HEARTBEAT_TTL = PATIENCE_S
    main()
