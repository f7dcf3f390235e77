"""Dagster's daemon keeps its code server for as long as that lives."""

import sys

from dagster import DagsterInstance
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon import controller

from ftzard.orchestration.dagster_daemon import forget_ended


def test_a_code_server_stays_over_every_reload_and_one_that_was_killed_is_replaced(tmp_path):
    (tmp_path / "code.py").write_text("from dagster import Definitions\ndefs = Definitions()\n")
    origin = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(
        executable_path=sys.executable, python_file=str(tmp_path / "code.py")))
    with (DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance,
          controller.create_daemon_grpc_server_registry(instance) as registry):
        def server():
            registry.get_grpc_endpoint(origin)
            return registry.get_grpc_server_entry(origin).process.server_process

        first = server()
        forget_ended(registry)
        assert server().pid == first.pid and first.poll() is None
        first.kill()
        first.wait()
        forget_ended(registry)
        second = server()
        assert second.pid != first.pid and second.poll() is None
        second.kill()
