"""The applications of the nodes while a scenario runs, and what they saw in each of its phases."""

import collections
import os
import signal
import subprocess
import sys
import threading
import time

from cluster import NODES, Pod, Process, eventually, node_name

FINE = ("hit", "miss", "STORED", "ok")

# What one request came to: "what" is get, set, reconnect or connect, "outcome" one of FINE or what went wrong.
Request = collections.namedtuple("Request", "node what began ended outcome key")


class Load:
    """One application on each node, from the beginning of the with-block to its end."""

    _pods = {}
    # How long the machine kept the whole test from running while the latest load ran.
    stood_still = 0.0

    def __init__(self, cluster, keys):
        self.cluster, self.keys = cluster, keys
        self.seen, self.phases, self.processes, self.readers = [], [], [], []
        self.over = threading.Event()
        Load.stood_still = 0.0

    def __enter__(self):
        client = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.py")
        for node in NODES:
            if node not in Load._pods:
                Load._pods[node] = Pod(node, "app")
            command = [sys.executable, client, self.cluster.target(node), str(node), str(len(self.keys))]
            log = f"{self.cluster.scratch}/app-{node}.log"
            process = Process(Load._pods[node].namespace, log, *command, stdout=subprocess.PIPE, text=True)
            reader = threading.Thread(target=self._read, args=(node, process), daemon=True)
            reader.start()
            self.processes.append(process)
            self.readers.append(reader)
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def _watch(self):
        """A machine that is too busy, or is paused as a whole, makes gaps of its own."""
        pace, last = 0.05, time.monotonic()
        while not self.over.wait(pace):
            now = time.monotonic()
            Load.stood_still, last = max(Load.stood_still, now - last - pace), now

    def __exit__(self, *_):
        self.over.set()
        for process in self.processes:
            process.signal(signal.SIGKILL)
        for process, reader in zip(self.processes, self.readers):
            process.wait()
            reader.join()

    def _read(self, node, process):
        for line in process.popen.stdout:
            if line.endswith("\n"):
                what, began, ended, outcome, key = line[:-1].split("\t")
                self.seen.append(Request(node, what, float(began), float(ended), outcome, key))

    def phase(self, name, more=0):
        """From now on requests count to this phase; returns when each application has done so many."""
        self.phases.append((name, time.monotonic()))
        self.more(more)

    def more(self, count, nodes=NODES):
        """Returns when the applications of these nodes have done this many further requests."""
        at, left = len(self.seen), dict.fromkeys(nodes, count)

        def done():
            nonlocal at
            while at < len(self.seen):
                request, at = self.seen[at], at + 1
                if request.node in left and request.what != "connect":
                    left[request.node] -= 1
            return max(left.values()) <= 0

        eventually(f"{count} more requests", done, 60)

    def of(self, phase, nodes=NODES):
        """The requests that began in this phase, at these nodes."""
        at = [name for name, _ in self.phases].index(phase)
        begin = self.phases[at][1]
        end = self.phases[at + 1][1] if at + 1 < len(self.phases) else float("inf")
        return [request for request in self.seen if begin <= request.began < end and request.node in nodes]

    def all(self, nodes=NODES):
        """All requests since the first phase began."""
        return [request for name, _ in self.phases for request in self.of(name, nodes)]

    # --- printing

    def print(self, nodes=NODES):
        """What the applications of these nodes saw: a line per phase, then the longest times that nothing succeeded."""
        if nodes != NODES:
            print(f"   on {', '.join(map(node_name, nodes))}:")
        for name, _ in self.phases:
            requests = self.of(name, nodes)
            print(f"   {name + ':':<26}{len(requests):6} requests, hit rate {hit_rate(requests)}, {errors_text(requests)}")
        for what, kinds in (("requests", ("get", "set", "reconnect")), ("connects", ("connect",))):
            gaps = (f"{node_name(node)} {self.gap(node, kinds):.2f} s" for node in nodes)
            print(f"   longest gap, {what + ':':<13}{', '.join(gaps)}")
        if Load.stood_still > 0.2:
            print(f"   this machine was busy: nothing of the test ran for up to {Load.stood_still:.2f} s")

    def gap(self, node, kinds):
        """The longest time without a success of these kinds at a node. Without any fault it is the pace of the load."""
        ended = sorted(r.ended for r in self.all((node,)) if r.what in kinds and r.outcome in FINE)
        return max((after - before for before, after in zip(ended, ended[1:])), default=float("inf"))


def hit_rate(requests):
    gets = [request for request in requests if request.what == "get"]
    hits = sum(request.outcome == "hit" for request in gets)
    return f"{hits * 100 / len(gets):6.2f} %" if gets else "     - %"


def errors(requests):
    """What went wrong, how often."""
    return collections.Counter(f"{r.what}: {r.outcome}" for r in requests if r.outcome not in FINE)


def errors_text(requests):
    counted = errors(requests)
    kinds = "".join(f"; {count} x {kind}" for kind, count in counted.most_common())
    return f"{sum(counted.values())} errors{kinds}"

