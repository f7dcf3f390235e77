"""What a task finds wrong with the column of its targets as a whole, before anything learns it."""

from collections.abc import Callable, Iterable, Mapping

from ftzard.data import label_lists

#: Task -> what says, in a sentence without an end, why a column holds no targets of it, or None.
#: A task that is not named takes whatever the column holds.
PROBLEMS: Mapping[str, Callable[[Iterable[str]], str | None]] = {
    "classification": label_lists.problem}


def problem(task: str, column: Iterable[str]) -> str | None:
    """Return what is wrong with a column of targets for a task, or None if nothing is."""
    find = PROBLEMS.get(task)
    return None if find is None else find(column)
