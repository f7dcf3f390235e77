"""How the lines of a file became rows: what vanished would show here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LineCounts:
    """How the lines of a file became rows.

    Attributes:
        lines: All of them.
        rows: Records below the header.
        blank_lines: Between records.
        rows_over_lines: Records that take more than one line.
    """

    lines: int
    rows: int
    blank_lines: int
    rows_over_lines: int

    @property
    def numbers(self) -> dict[str, int]:
        """The counts, under names that tracking takes."""
        return {"file_lines": self.lines, "file_rows": self.rows,
                "file_blank_lines": self.blank_lines, "file_rows_over_lines": self.rows_over_lines}

    def __str__(self) -> str:
        return (f"the file has {self.lines:,} lines and {self.rows:,} rows, "
                f"{self.rows_over_lines:,} of them over several lines, and {self.blank_lines:,} "
                "blank lines")
