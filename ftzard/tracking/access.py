"""A check before the first step that a run can record its results.

A wrong password, a server that is down, an experiment or a model of another user: each is an error
at once, and not a step that fails after an hour of training.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from mlflow.exceptions import MlflowException

from ftzard.config.schema import Tracking
from ftzard.errors import TrackingError
from ftzard.tracking import mirror
from ftzard.tracking.registry import base_name
from ftzard.tracking.store import NOT_PERMITTED, Store, kind

#: The tag that the experiment gets when a run begins on a server: who may set it may write.
OPENED = "ftzard.opened"
_NO_ALIAS = "ftzard-asks"


def require(tracking: Tracking, patience_s: float | None = None) -> None:
    """Raise TrackingError if a run with this config could not record.

    Of a server it is asked whether it answers, takes the credentials and lets this user write to
    the experiment and to the registered models, tuned and base. Who makes one owns it: they are
    made here, so that nobody else has their names by the time there is something to register. A
    champion that follows another takes aliases away, for which a server wants more than for giving
    them.
    """
    mirror.require(tracking.mirror)
    if tracking.server is None:
        return
    client, now = Store(tracking.server, patience_s), datetime.now(UTC).isoformat(
        timespec="seconds")
    with _named(client, "experiment", tracking.experiment):
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is not None and experiment.lifecycle_stage == "active":
            client.set_experiment_tag(experiment.experiment_id, OPENED, now)
    for name in (tracking.registered_model, base_name(tracking.registered_model)):
        with _named(client, "registered_model", name):
            _own(client, name)
            with suppress(MlflowException):  # it is not there: what counts is whether one may
                client.delete_registered_model_alias(name, _NO_ALIAS)


def _own(client: Store, name: str) -> None:
    """Create the registered model unless it exists and is readable."""
    try:
        client.get_registered_model(name)
    except MlflowException:
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            raise _not_yours(client, "registered_model", name) from error


@contextmanager
def _named(client: Store, key: str, name: str) -> Iterator[None]:
    """Name the experiment or model that is not permitted, which the store's message lacks."""
    try:
        yield
    except TrackingError as error:
        if error.__cause__ is not None and kind(error.__cause__) is NOT_PERMITTED:
            raise _not_yours(client, key, name) from error
        raise


def _not_yours(client: Store, key: str, name: str) -> TrackingError:
    what = key.replace("_", " ")
    option = "--experiment" if key == "experiment" else "--model"
    return TrackingError(
        f"the {what} '{name}' on {client.shown} belongs to somebody else, and this user may not "
        f"write to it. Set tracking.{key} to a name of your own, or let an administrator of the "
        f"server grant it: ftzard mlflow-user grant USER {option} {name}.")
