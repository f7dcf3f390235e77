"""What a result was measured on, and where results are kept."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from ftzard.tracking.record import package_versions

RESULTS = Path(__file__).parent / "results"


def store(name: str, figures: dict) -> Path:
    """Write figures with machine and versions to bench/results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(),
                    "load_before": os.getloadavg()[0]},
        "packages": package_versions(),
        **figures,
    }, indent=1) + "\n")
    return path
