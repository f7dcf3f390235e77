"""Ends the servers of a command when the command is gone, however it ended.

Run as a script of its own by `services.running`, with nothing but the standard library: a process
that can be killed with -9 cannot clean up, so another one has to. Its standard input is a pipe
whose other end only the command holds. A line in it is the process group of one more server; its
end means that the command has ended. What is left in the groups is then interrupted and, after
`PATIENCE_S`, killed. A group whose leader has died (a daemon whose code servers would go on
launching runs) is killed as well, once the command has had the time to end it in good order.
"""

import os
import select
import signal
import time

#: Seconds between an interruption and the kill; with what comes before, under ten in all.
PATIENCE_S = 5.0
EVERY_S = 0.3


def state(pid: int) -> str:
    """Return the letter of a process's state, '' if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0]
    except OSError:
        pass
    if os.path.exists("/proc/self"):
        return ""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "S"


def send(group: int, number: int) -> bool:
    """Send a signal to a process group; return whether there is one."""
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True


def end(groups: set[int]) -> None:
    """Interrupt process groups, and kill what is left of them after a while."""
    left = {group for group in groups if send(group, signal.SIGINT)}
    last = time.monotonic() + PATIENCE_S
    while left and time.monotonic() < last:
        time.sleep(0.1)
        left = {group for group in left if send(group, 0)}
    for group in left:
        send(group, signal.SIGKILL)


def main() -> None:
    """Watch until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    leaderless: dict[int, float] = {}
    waiting = b""
    while True:
        if select.select([0], [], [], EVERY_S)[0]:
            read = os.read(0, 4096)
            if not read:
                break
            *lines, waiting = (waiting + read).split(b"\n")
            groups |= {int(line) for line in lines}
        for group in list(groups):
            if state(group) not in ("", "Z"):
                continue
            since = leaderless.setdefault(group, time.monotonic())
            if time.monotonic() - since > PATIENCE_S:
                send(group, signal.SIGKILL)
                groups.discard(group)
            elif not send(group, 0):
                groups.discard(group)
    end(groups)


if __name__ == "__main__":
    main()
