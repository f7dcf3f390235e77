"""What the Git_Dvc chapter does: version what a step wrote, tag its run, hand its outputs on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ftzard.artifact import Handle, write_json
from ftzard.errors import WorkspaceError
from ftzard.inputs import latest_metadata
from ftzard.notebooks.chapter import Place, connect, locate, sentences_first
from ftzard.steps import STEPS, Step, step_named
from ftzard.tracking import runs
from ftzard.versioning import commit
from ftzard.versioning.commit import Versioned


@dataclass
class Following:
    """A finished step whose files are to be versioned."""

    step: Step
    place: Place
    metadata: dict
    artifacts: list[Handle]
    dagstermill: object | None

    def version(self) -> Versioned:
        """Add, commit and push; raises VersioningError if adding or committing fails."""
        settings, root = self.place.config.versioning, self.place.workspace.root
        return commit.version(
            root, self.artifacts, also=[root / p for p in self.metadata["records"]],
            message=f"{self.step.name}: {self._summary()}", run_id=self.metadata["run_id"],
            push=settings.push, require_push=settings.require_push)

    def hand_on(self, versioned: Versioned) -> pd.DataFrame:
        """Tag the step's run with the versions, hand the handles on, return them as a table."""
        tracking = connect(self.place.workspace, self.place.config)
        run = runs.reopen(tracking, self.metadata["run_id"])
        run.tags({f"data_version.{h.name}": h.commit for h in versioned.handles})
        run.tags({"data_commit": versioned.commit, "data_pushed": versioned.pushed,
                  **({"data_not_pushed": versioned.reason} if versioned.reason else {})})
        metadata = {**self.metadata, "commit": versioned.commit, "pushed": versioned.pushed,
                    "changed": versioned.changed,
                    "artifacts": [h.to_dict() for h in versioned.handles]}
        write_json(self.place.workspace.metadata / f"{self.step.name}.json", metadata)
        by_name = {h.name: h for h in versioned.handles}
        if self.dagstermill is not None:
            for name in self.step.yields:
                self.dagstermill.yield_result(by_name[name].to_dict(), name)
            self.dagstermill.yield_result(json.loads(json.dumps(metadata)), self.step.metadata)
        return pd.DataFrame([{"artifact": h.name, "path": h.path, "rows": h.rows,
                              "data version": h.commit[:10]} for h in versioned.handles])

    def _summary(self) -> str:
        counted = [f"{h.name} {h.rows:,} rows" for h in self.artifacts if h.rows is not None]
        files = [h.path for h in self.artifacts if h.rows is None]
        return ", ".join(counted or files or self.metadata["records"])


def follow(namespace: Mapping) -> Following:
    """Return the step to follow: the one that handed its outputs over, or by hand `step`."""
    sentences_first()
    place = locate(namespace)
    for step in STEPS:
        if isinstance(namespace.get(step.metadata), Mapping):
            metadata = dict(namespace[step.metadata])
            break
    else:
        if not namespace.get("step"):
            raise WorkspaceError(
                "Git_Dvc follows a step: name it in the parameters cell, as in step = 'cleaning'; "
                f"the steps are {', '.join(s.name for s in STEPS if s.versioned)}.")
        step = step_named(namespace["step"])
        metadata = latest_metadata(step, place.workspace)
    artifacts = [Handle.from_dict(h) for h in metadata["artifacts"]]
    return Following(step, place, metadata, artifacts, namespace.get("__dm_dagstermill"))
