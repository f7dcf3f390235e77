"""End the servers of a command when the command has ended, however it ended.

`services.running` runs this file as a script, with the standard library alone: a process that is
killed cannot clean up, so another one does. Its standard input is a pipe whose other end only the
command has. A line on it is the process group of a server; its end means that the command has
ended. The groups are then interrupted and, after `PATIENCE_S`, killed. A group whose leader has
died (a daemon whose code servers would go on launching runs) is killed, too, after the command has
had time to end it properly.
"""

import os
import select
import signal
import time

#: Seconds between the interruption and the kill of a group.
PATIENCE_S = 5.0
EVERY_S = 0.5


def leader_alive(pid: int) -> bool:
    """Return whether the leader of a process group is alive."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not os.path.exists("/proc/self") and signal_group(pid, 0)


def living_processes(groups: set[int]) -> dict[int, set[int]]:
    """Return {group: its living processes} of the groups that have any.

    Zombies are left out: in a container there may be no process that reaps them.
    """
    if not os.path.exists("/proc/self"):
        return {group: {group} for group in groups if signal_group(group, 0)}
    members: dict[int, set[int]] = {group: set() for group in groups}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stream:
                    state, _, group = stream.read().rpartition(")")[2].split()[:3]
            except OSError:
                continue  # it has ended
            if state != "Z" and int(group) in members:
                members[int(group)].add(int(name))
    return {group: processes for group, processes in members.items() if processes}


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; return whether the group exists."""
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True


def end_groups(groups: set[int]) -> None:
    """Interrupt process groups, then terminate and finally kill those that are left."""
    left = living_processes(groups)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        for group in left:
            signal_group(group, number)
        deadline = time.monotonic() + PATIENCE_S / 2
        while number != signal.SIGKILL and left and time.monotonic() < deadline:
            time.sleep(0.1)
            left = living_processes(set(left))


def main() -> None:
    """Read process groups from standard input; end them when it ends."""
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
        orphaned = {group for group in groups if not leader_alive(group)}
        living = living_processes(orphaned) if orphaned else {}
        for group in orphaned:
            since = leaderless.setdefault(group, time.monotonic())
            if group in living and time.monotonic() - since > PATIENCE_S:
                signal_group(group, signal.SIGKILL)
            elif group not in living:
                groups.discard(group)
    end_groups(groups)


if __name__ == "__main__":
    main()
