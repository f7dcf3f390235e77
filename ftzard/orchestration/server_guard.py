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
EVERY_S = 0.5


def leads(pid: int) -> bool:
    """Return whether the process that leads a group lives."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not os.path.exists("/proc/self") and send(pid, 0)


def living(groups: set[int]) -> dict[int, set[int]]:
    """Return {group: its processes} of the groups in which one lives.

    Zombies do not live: in a container there may be nobody who reaps them.
    """
    found: dict[int, set[int]] = {group: set() for group in groups}
    if not os.path.exists("/proc/self"):
        return {group: {group} for group in groups if send(group, 0)}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stream:
                    state, _, group = stream.read().rpartition(")")[2].split()[:3]
            except OSError:
                continue  # it has ended
            if state != "Z" and int(group) in found:
                found[int(group)].add(int(name))
    return {group: members for group, members in found.items() if members}


def send(group: int, number: int) -> bool:
    """Send a signal to a process group; return whether there is one."""
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True


def end(groups: set[int]) -> None:
    """Interrupt process groups, terminate and in the end kill what is left of them."""
    left = living(groups)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        for group in left:
            send(group, number)
        last = time.monotonic() + PATIENCE_S / 2
        while number != signal.SIGKILL and left and time.monotonic() < last:
            time.sleep(0.1)
            left = living(set(left))


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
        orphaned = {group for group in groups if not leads(group)}
        there = living(orphaned) if orphaned else {}
        for group in orphaned:
            since = leaderless.setdefault(group, time.monotonic())
            if group in there and time.monotonic() - since > PATIENCE_S:
                send(group, signal.SIGKILL)
            elif group not in there:
                groups.discard(group)
    end(groups)


if __name__ == "__main__":
    main()
