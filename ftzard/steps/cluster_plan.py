"""The estimate for a job whose heavy work goes to a cluster, and where it saturates."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ftzard.core.durations import duration_text
from ftzard.tasks.shards import SHARD_ROWS

if TYPE_CHECKING:
    from ftzard.config.schema import Config

#: Seconds from asking for a job to its first step: Ray's 6, Python and libraries, the base.
#: Measured with the tiny base on two nodes of one machine with two cores.
START_S = 15.0
#: Bytes on a node that the imported libraries take beside the model.
IMPORTED = 700 << 20


@dataclass(frozen=True)
class ClusterPlan:
    """What the cluster is asked for.

    Attributes:
        jobs: jobs at once.
        memory_mb: memory of each.
        seconds: of the job in all.
        gpu_hours: of the cluster's GPUs, which a job holds while it starts, too.
        rows_per_second: predicted by all jobs together; None for a training.
        saturates_at: jobs at once beyond which the time hardly falls.
    """

    jobs: int
    memory_mb: float
    seconds: float
    gpu_hours: float
    rows_per_second: float | None
    saturates_at: int
    assumptions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "assumptions": list(self.assumptions)}

    def lines(self) -> list[str]:
        """Return it as lines of text."""
        hours = f", {self.gpu_hours:.2g} GPU hours" if self.gpu_hours else ""
        rate = f", {self.rows_per_second:,.0f} rows/s" if self.rows_per_second else ""
        return [f"cluster   {self.jobs} job{'s' * (self.jobs > 1)} at once, {self.memory_mb:,.0f} "
                f"MB each, about {duration_text(self.seconds)} in all{rate}{hours}",
                f"          more than {self.saturates_at} at once would hardly be faster",
                *(f"assumed   {line}" for line in self.assumptions)]


def of(config: Config, *, seconds: float, memory: int, trials: int | None, rows: int
       ) -> ClusterPlan | None:
    """Return the estimate on the cluster of the config, None without one.

    Args:
        config: The resolved config.
        seconds: Of all training and prediction in one process here.
        memory: Bytes at the peak of one.
        trials: How many trainings there are, None for predictions.
        rows: To predict.
    """
    compute = config.compute
    if compute.kind == "local":
        return None
    pieces = trials if trials is not None else max(1, math.ceil(rows / SHARD_ROWS))
    jobs = min(compute.parallel if trials != 1 else 1, pieces)
    starts = math.ceil(pieces / jobs) if trials is not None else 1
    computing = math.ceil(pieces / jobs) * seconds / pieces
    whole = computing + starts * START_S
    limit = pieces if trials is not None else min(pieces, max(1, round(seconds / START_S)))
    return ClusterPlan(
        jobs, round((memory + IMPORTED) / 2**20, 1), round(whole, 1),
        round(jobs * compute.gpus * whole / 3600, 3),
        None if trials is not None or not whole else round(rows / whole, 1), limit,
        ("every node computes as fast as this machine, and no job waits for resources",
         f"{START_S:.0f} s to start a job: measured with a tiny base on one machine",
         "sending inputs, and the work that stays here, come on top"))
