"""A hit counter whose count survives the loss of a memcached.

    pip install pymemcache
    python hit_counter.py page                    counts a hit of `page` and prints the count
    python hit_counter.py page --times 10 --every 1
    python hit_counter.py page --read             prints the count

The count is kept twice, under the keys `left:NAME` and `right:NAME`, which ringroad sends to two pools without a server
in common (hit-counter-values.yaml). memcached's `incr` is atomic, so one replica hands out the numbers; the other follows:

* A hit takes a number from `left` (from `right` while `left` can't be reached) and raises the other replica to at least that
  number, by `cas`, before it says the number. So whatever anybody was told is in every replica that can be reached.
* Who reads takes the larger one, and says it when the other one is as far, too. If that takes longer than a hit takes, it
  is raised.
* A replica without the key has lost it (it came back empty) and is filled from the other one by `add`, which never
  overwrites what somebody else has put there.
* A replica that was away and comes back with an old count hands out a number that the other one has already. That is
  noticed; it is raised, and the hit takes another number.

So the count never goes back while one of the two keeps it, and is exact while both can be reached. Around the loss or the
return of one, some clients reach it while others do not yet: of hits at that time some may count once for two, and one whose
answer got lost on the way may count twice. What can't be survived: the loss of both, or of the one that was alone, within the
second or so that it takes until everybody reaches the other one again and it has been filled. While one replica is away and
the other one is empty nobody knows the count, and an error says so.
"""

import argparse
import os
import sys
import time

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError

ATTEMPTS = 100
PATIENCE = 0.1  # seconds, in which a hit under way reaches the second replica


class Unknown(Exception):
    """Nobody who can be reached knows the count."""


class Down(Exception):
    """This replica can't be reached."""


class Replica:
    """One copy of a count. Every method raises Down if it can't be reached."""

    def __init__(self, client, key):
        self.client = client
        self.key = key

    def _ask(self, method, *arguments, **options):
        try:
            return method(self.key, *arguments, **options)
        except MemcacheServerError as error:
            raise Down(f"{self.key}: {error}") from error

    def take_number(self):
        """The next number, or None if it has no count."""
        return self._ask(self.client.incr, 1, noreply=False)

    def value(self):
        """The count, or None."""
        value = self._ask(self.client.get)
        return None if value is None else int(value)

    def fill(self, count):
        """Begins with this count, unless it has one."""
        self._ask(self.client.add, str(count), noreply=False)

    def raise_to(self, count):
        """Makes it at least that. Returns what it had, if that was as much already, else None."""
        for _ in range(ATTEMPTS):
            value, version = self._ask(self.client.gets)
            if value is None:
                if self._ask(self.client.add, str(count), noreply=False):
                    return None
            elif int(value) >= count:
                return int(value)
            elif self._ask(self.client.cas, str(count), version, noreply=False):
                return None
        raise Down(f"{self.key}: changed by others all the time")


class HitCounter:
    def __init__(self, client, name):
        self.replicas = [Replica(client, f"{side}:{name}") for side in ("left", "right")]

    def hit(self):
        """Counts, and returns the count: with this hit, and maybe some that came at the same time."""
        left, right = self.replicas
        try:
            return self._count(left, right)
        except Down:
            try:
                return self._count(right, left)
            except Down as error:
                raise Unknown(f"no replica can be reached: {error}") from error

    def _count(self, first, second):
        for _ in range(ATTEMPTS):
            number = first.take_number()
            if number is None:
                first.fill(self._known_to(second))
                continue
            try:
                past = second.raise_to(number)
            except Down:
                return number
            # It is past this number because others have counted on meanwhile, or because `first` hands out old ones.
            if past is None:
                return number
            if past > number and (first.value() or 0) >= past:
                return past
            if past > number:
                first.raise_to(past)
        raise Unknown("the replicas don't come to agree")

    @staticmethod
    def _known_to(replica):
        """What an empty replica is to be filled with."""
        try:
            return replica.value() or 0
        except Down as error:
            raise Unknown(f"one replica has no count and the other one can't be reached: {error}") from error

    def read(self):
        """The count."""
        values = self._values()
        counts = [value for value in values.values() if value is not None]
        if not counts:
            if len(values) == len(self.replicas):
                return 0
            raise Unknown("no replica that can be reached has a count")
        count = max(counts)
        for replica, value in values.items():
            self._follow(replica, value, count)
        return count

    def _values(self):
        """Of each replica that can be reached, its count or None."""
        values = {}
        for replica in self.replicas:
            try:
                values[replica] = replica.value()
            except Down:
                pass
        return values

    @staticmethod
    def _follow(replica, value, count):
        """Returns when this replica, which has `value`, has at least `count`, or can't be reached."""
        deadline = time.monotonic() + PATIENCE
        try:
            while value is not None and value < count and time.monotonic() < deadline:
                value = replica.value()
            if value is None or value < count:
                replica.raise_to(count)
        except Down:
            pass


def main():
    host = os.environ.get("HOST_IP") or os.environ.get("NODE_NAME") or "127.0.0.1"
    parser = argparse.ArgumentParser(description="Counts hits, twice over, in memcached.")
    parser.add_argument("name")
    parser.add_argument("--server", default=f"{host}:5000", help="HOST:PORT of ringroad (%(default)s)")
    parser.add_argument("--times", type=int, default=1, help="so many hits (%(default)s)")
    parser.add_argument("--every", type=float, default=0, help="seconds between them (%(default)s)")
    parser.add_argument("--read", action="store_true", help="count nothing, say the count")
    options = parser.parse_args()
    counter = HitCounter(Client(options.server, connect_timeout=2, timeout=5), options.name)
    status = 0
    for number in range(options.times):
        if number:
            time.sleep(options.every)
        try:
            print(counter.read() if options.read else counter.hit(), flush=True)
        except (OSError, Unknown) as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
