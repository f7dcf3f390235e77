"""Waiting for what other processes do."""

import time


def wait_until(holds, seconds: float = 60.0):
    """Return what `holds` returns once it is true; fails if it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")
