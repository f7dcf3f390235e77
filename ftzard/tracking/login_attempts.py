"""Wrong passwords slow down the next attempts, of an account and of an address.

Who tries many passwords waits longer and longer: for one account from one address after a few
failures, for one account from everywhere and for one address with every account after more. The
latter two do not hold where an account has logged in from an address before, so nobody is kept out
by what others try elsewhere. No wait is longer than a minute, and all is forgotten after a while
without failures, or when the server starts again.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Failures without a wait: of an account at one address, of an account, of an address.
FREE_OF_BOTH, FREE_OF_ACCOUNT, FREE_OF_ADDRESS = 5, 20, 50
FIRST_S, LONGEST_S, FORGOTTEN_AFTER_S = 4.0, 60.0, 900.0
#: The most accounts and addresses that are stored; the oldest are dropped first.
_MOST_ENTRIES = 20_000


@dataclass
class _Failures:
    count: int = 0
    last: float = 0.0


class Attempts:
    """The failed logins of a server process.

    Attributes:
        clock: Seconds that only grow, as `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float]):
        self._clock, self._lock = clock, threading.Lock()
        self._failures: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait(self, account: str, address: str) -> float:
        """Return the seconds for which logins of an account from an address are refused."""
        with self._lock:
            now = self._clock()
            limits = [(("both", account, address), FREE_OF_BOTH)]
            if (account, address) not in self._known:
                limits += [(("account", account), FREE_OF_ACCOUNT),
                           (("address", address), FREE_OF_ADDRESS)]
            return max(0.0, *(self._until(key, free, now) - now for key, free in limits))

    def failed(self, account: str, address: str) -> None:
        """Record a wrong password."""
        with self._lock:
            now = self._clock()
            for key in (("both", account, address), ("account", account), ("address", address)):
                failures = self._failures.pop(key, None)
                if failures is None or now - failures.last > FORGOTTEN_AFTER_S:
                    failures = _Failures()
                failures.count, failures.last = failures.count + 1, now
                self._failures[key] = failures
            while len(self._failures) > _MOST_ENTRIES:
                self._failures.popitem(last=False)

    def succeeded(self, account: str, address: str) -> None:
        """Record a login: its own failures are cleared, and the address is known for the account.
        """
        with self._lock:
            self._failures.pop(("both", account, address), None)
            self._known[account, address] = None
            self._known.move_to_end((account, address))
            while len(self._known) > _MOST_ENTRIES:
                self._known.popitem(last=False)

    def _until(self, key: tuple[str, ...], free: int, now: float) -> float:
        """Return the end of a limit.

        It is FIRST_S after its first failure too many, and twice as long after each further one.
        """
        failures = self._failures.get(key)
        if failures is None or failures.count < free or now - failures.last > FORGOTTEN_AFTER_S:
            return now
        wait = FIRST_S * 2.0 ** min(failures.count - free, 10)
        return failures.last + min(LONGEST_S, wait)
