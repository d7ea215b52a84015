"""The Python programs against the built ringroad and real memcacheds; among them the test of the chart's own test."""

import subprocess
import sys
import threading
import time

import yaml
from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError

from harness import CHART, ROOT, configuration, render, test
from processes import free_port, memcached, ringroad, wait_for

EXAMPLES = ROOT / "deploy/examples"
THROUGH = CHART / "files/through_ringroad.py"

sys.path.insert(0, str(EXAMPLES))
import hit_counter  # noqa: E402


def minimal(port, servers):
    listed = ", ".join(f'"127.0.0.1:{server.port}"' for server in servers)
    return f'listen = ["127.0.0.1:{port}"]\n[pools.cache]\nservers = [{listed}]\n'


def program(*command, **options):
    return subprocess.run([sys.executable, "-B", *map(str, command)], capture_output=True, text=True, timeout=60, **options)


@test()
def the_demo_stores_and_finds_its_keys():
    port = free_port()
    with memcached() as one, memcached() as two, ringroad(minimal(port, [one, two]), port):
        done = program(EXAMPLES / "cache_demo.py", "--server", f"127.0.0.1:{port}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout == "mykey: hello\n100 of 100 keys were stored and found again\n"


@test()
def the_demo_finds_the_ringroad_of_its_node():
    """HOST_IP before NODE_NAME, which may have no address, before the local one."""
    code = "import cache_demo; print(cache_demo.own_node())"
    for environment, expected in [
        ({}, "127.0.0.1:5000"),
        ({"NODE_NAME": "node-1"}, "node-1:5000"),
        ({"NODE_NAME": "node-1", "HOST_IP": "10.0.0.1"}, "10.0.0.1:5000"),
    ]:
        done = program("-c", code, cwd=EXAMPLES, env=environment)
        assert done.stdout.strip() == expected, done.stderr


@test()
def the_demo_says_when_nothing_is_stored():
    port = free_port()
    server = memcached().start()
    server.kill()
    with ringroad(minimal(port, [server]), port):
        done = program(EXAMPLES / "cache_demo.py", "--server", f"127.0.0.1:{port}")
        assert done.returncode == 1, done.stdout


@test()
def helm_test_passes_and_fails_with_ringroad():
    """Its program, with loopback in the place of the Services."""
    port = free_port()
    with memcached() as server:
        with ringroad(minimal(port, [server]), port):
            assert program(THROUGH, "check", "127.0.0.1", port).returncode == 0
            environment = {"HOST_IP": "127.0.0.1"}
            assert program(THROUGH, "check", "env:HOST_IP", port, env=environment).returncode == 0
            for testers in ([], ["localhost"]):
                done = program(THROUGH, "every", port, "127.0.0.1", *testers, "--seconds", "0")
                assert done.returncode == 0 and "each of 1 ringroads" in done.stdout, done.stdout
            done = program(THROUGH, "every", port, "127.0.0.1", "no-testers.invalid", "--seconds", "0")
            assert done.returncode == 1 and "on 0 nodes, ringroad runs on 1" in done.stdout, done.stdout
            done = program(THROUGH, "every", port, "no-pods.invalid", "--seconds", "0")
            assert done.returncode == 1 and "no-pods.invalid has no addresses" in done.stdout, done.stdout
            server.kill()
            done = program(THROUGH, "check", "127.0.0.1", port)
            assert done.returncode == 1 and "SERVER_ERROR" in done.stdout, done.stdout
        done = program(THROUGH, "every", port, "127.0.0.1", "--seconds", "0")
        assert done.returncode == 1 and "ringroad at 127.0.0.1" in done.stdout, done.stdout
    assert program(THROUGH, "nonsense").returncode == 2


@test()
def a_tester_ends_when_it_is_told_to():
    process = subprocess.Popen([sys.executable, THROUGH, "wait"])
    # It blocks the signals before it waits for them; until then SIGTERM kills it, which ends it as well.
    time.sleep(0.2)
    process.terminate()
    assert process.wait(timeout=30) in (0, -15)


class Counting:
    """Clients that count hits at once, and what each was told and when."""

    def __init__(self, port, clients):
        self.port = port
        self.told = []  # (begun, ended, count)
        self.unknown = 0
        self.wrong = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(n % 4 == 3,)) for n in range(clients)]

    def counter(self):
        return hit_counter.HitCounter(Client(("127.0.0.1", self.port), connect_timeout=5, timeout=10), "page")

    def _run(self, only_reads):
        counter = self.counter()
        try:
            while not self.stopped.is_set():
                begun = time.monotonic()
                try:
                    count = counter.read() if only_reads else counter.hit()
                except hit_counter.Unknown:
                    self.unknown += 1
                    time.sleep(0.01)
                    continue
                self.told.append((begun, time.monotonic(), count, not only_reads))
        except Exception as error:
            self.wrong.append(error)
            raise

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def hits(self):
        return sum(1 for *_, is_hit in self.told if is_hit)

    def more(self, number=200):
        """Waits for so many more hits."""
        wanted = self.hits() + number
        wait_for(lambda: self.wrong or self.hits() >= wanted, f"{number} more hits; {self.unknown} had no answer")

    def never_went_back(self):
        """Whoever asked after somebody had been told a count was told as much or more."""
        ended = sorted((end, count) for _, end, count, _ in self.told)
        highest, position = 0, 0
        for begun, _, count, _ in sorted(self.told):
            while position < len(ended) and ended[position][0] < begun:
                highest = max(highest, ended[position][1])
                position += 1
            assert count >= highest, f"{count} was said after {highest}"


def hit_counter_config(port, left, right, rest):
    """The values of the example as the chart renders them, with local servers in the place of the pods."""
    values = yaml.safe_load((EXAMPLES / "hit-counter-values.yaml").read_text())
    text = configuration(render(values))[1]
    for number, server in enumerate((left, right)):
        named = f"mycache-memcached-{number}.mycache-memcached:11211"
        assert text.count(named) == 1
        text = text.replace(named, f"127.0.0.1:{server.port}")
    discovered = '[pools.cache.discover]\nport_name = "memcache"\nservice = "mycache-memcached.default.svc.cluster.local"\n'
    assert discovered in text
    text = text.replace(discovered, f'[pools.cache]\nservers = ["127.0.0.1:{rest.port}"]\n')
    assert 'listen = [":5000"]' in text and 'listen = ":5001"' in text
    return text.replace('":5000"', f'"127.0.0.1:{port}"').replace('":5001"', '"127.0.0.1:0"')


@test()
def the_hit_counter_counts_exactly_while_all_is_well():
    port = free_port()
    with memcached() as left, memcached() as right, memcached() as rest:
        with ringroad(hit_counter_config(port, left, right, rest), port):
            with Counting(port, 8) as counting:
                counting.more(500)
            assert not counting.wrong
            counting.never_went_back()
            count = counting.hits()
            assert max(told for *_, told, _ in counting.told) == count
            # Each on its own server: losing one loses one copy.
            for server, key in ((left, "left:page"), (right, "right:page")):
                assert int(Client(("127.0.0.1", server.port)).get(key)) == count
            done = program(EXAMPLES / "hit_counter.py", "page", "--read", "--server", f"127.0.0.1:{port}")
            assert int(done.stdout) == count
            done = program(EXAMPLES / "hit_counter.py", "page", "--times", "2", "--server", f"127.0.0.1:{port}")
            assert done.stdout == f"{count + 1}\n{count + 2}\n", done.stderr


def reaches_both(client):
    try:
        client.get("left:probe")
        client.get("right:probe")
        return True
    except MemcacheServerError:
        return False


@test()
def the_hit_counter_survives_the_loss_of_either_memcached_under_load():
    """Killed, away for a while, back and empty; one after the other, several times."""
    port = free_port()
    with memcached() as left, memcached() as right, memcached() as rest:
        with ringroad(hit_counter_config(port, left, right, rest), port):
            probing = [Client(("127.0.0.1", port), connect_timeout=5, timeout=10) for _ in range(8)]
            with Counting(port, 8) as counting:
                counting.more()
                for lost, key in [(left, "left:page"), (right, "right:page")] * 3:
                    lost.kill()
                    counting.more()
                    lost.start()
                    # Filled again by the clients themselves, from the other one.
                    with_key = Client(("127.0.0.1", lost.port), connect_timeout=5, timeout=5)
                    wait_for(lambda: with_key.get(key) is not None, f"{key} to be filled again")
                    # Each worker finds out for itself. Until all have, some hits are in the other one alone.
                    wait_for(lambda: all(reaches_both(client) for client in probing), "both in reach of all")
                    counting.more()
            assert not counting.wrong, counting.wrong
            counting.never_went_back()
            final = counting.counter().read()
            # Exact but around the losses and returns, which are much closer together here than anywhere else.
            assert abs(final - counting.hits()) <= counting.hits() / 20, (counting.hits(), final)
            print(f"  {counting.hits()} hits, count {final}, {counting.unknown} without an answer")


@test()
def the_hit_counter_recovers_from_an_old_copy():
    """A server that was cut off, and comes back with what it had."""
    port = free_port()
    with memcached() as left, memcached() as right, memcached() as rest:
        with ringroad(hit_counter_config(port, left, right, rest), port):
            counter = hit_counter.HitCounter(Client(("127.0.0.1", port)), "page")
            assert [counter.hit() for _ in range(100)][-1] == 100
            for server, key in ((left, "left:page"), (right, "right:page")):
                expected = counter.read()
                Client(("127.0.0.1", server.port)).set(key, "7", noreply=False)
                assert counter.hit() == expected + 1
                Client(("127.0.0.1", server.port)).set(key, "7", noreply=False)
                assert counter.read() == expected + 1
                assert int(Client(("127.0.0.1", server.port)).get(key)) == expected + 1, "who reads repairs"


@test()
def the_hit_counter_rather_says_nothing_than_begins_anew():
    """One copy is empty and the other one out of reach: it may come back with the count."""
    port = free_port()
    with memcached() as left, memcached() as right, memcached() as rest:
        with ringroad(hit_counter_config(port, left, right, rest), port):
            counter = hit_counter.HitCounter(Client(("127.0.0.1", port)), "page")
            for _ in range(3):
                counter.hit()
            Client(("127.0.0.1", left.port)).delete("left:page", noreply=False)
            right.kill()
            for method in (counter.hit, counter.read):
                try:
                    raise AssertionError(f"said {method()}")
                except hit_counter.Unknown:
                    pass
            left.kill()
            done = program(EXAMPLES / "hit_counter.py", "page", "--server", f"127.0.0.1:{port}")
            assert done.returncode == 1 and done.stderr.startswith("error: no replica can be reached"), done.stderr
