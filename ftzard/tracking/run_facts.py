"""A run's data without MLflow's own types."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RunFacts:
    """The stored data of one execution of a step.

    Attributes:
        began, ended: Milliseconds since 1970.
        datasets: (name, JSON of its source) of what it logged.
    """

    id: str
    name: str
    status: str
    began: int
    ended: int | None
    tags: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)
    datasets: tuple[tuple[str, str], ...] = ()
