"""A memcached client of a few lines, and the application of a node: a process that uses its own node's ringroad only.

    python3 client.py HOST SEED KEYS

Two loops, each at a steady pace. One gets random keys on a connection that it keeps, stores what it misses, and looks at
the key of every value. The other connects anew each time and asks for one reply. A line per request on standard output:
what, when it began and ended (CLOCK_MONOTONIC), what came of it, which key.
"""

import random
import socket
import sys
import threading
import time

PORT = 5000
# Seconds between two requests, and between two connections.
PACE = {"request": 0.005, "connect": 0.02}


class Memcache:
    """One connection. OSError means that it is of no use any more."""

    def __init__(self, host, port, seconds=5):
        self.socket = socket.create_connection((host, port), seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("closed by the other side")
        return line[:-2].decode()

    def ask(self, text):
        self.socket.sendall(text.encode())
        return self.line()

    def set(self, key, value):
        return self.ask(f"set {key} 0 0 {len(value)}\r\n{value}\r\n")

    def get(self, key):
        """The value, None if there is none. ValueError says what came instead of either."""
        first = self.ask(f"get {key}\r\n")
        if first == "END":
            return None
        words = first.split(" ")
        if words[0] != "VALUE":
            raise ValueError(first)
        value = self.line()
        if words[1] != key or self.line() != "END":
            raise ValueError(f"WRONG REPLY to get {key}: {first}")
        return value


def name_of(error):
    """An error as one or two words."""
    if isinstance(error, socket.timeout):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "closed"
    return type(error).__name__


def requests(host, say, pace, seed, keys):
    pick = random.Random(seed)
    client = None
    while True:
        key = f"key:{pick.randrange(keys)}"
        began = time.monotonic()
        what = "get"
        try:
            if client is None:
                what = "reconnect"
                client = Memcache(host, PORT)
                what = "get"
            value = client.get(key)
            say(what, began, "miss" if value is None else "hit" if value.startswith(key + "=") else "WRONG VALUE", key)
            if value is None:
                began, what = time.monotonic(), "set"
                say(what, began, client.set(key, f"{key}=app"), key)
        except ValueError as error:
            say(what, began, str(error), key)
        except OSError as error:
            say(what, began, name_of(error), key)
            if client:
                client.close()
            client = None
        pace()


def connects(host, say, pace):
    while True:
        began = time.monotonic()
        try:
            with Memcache(host, PORT) as client:
                answer = client.ask("mn\r\n")
                say("connect", began, "ok" if answer == "MN" else answer, "-")
        except OSError as error:
            say("connect", began, name_of(error), "-")
        pace()


def main(host, seed, keys):
    lock = threading.Lock()

    def say(what, began, outcome, key):
        with lock:
            sys.stdout.write(f"{what}\t{began:.6f}\t{time.monotonic():.6f}\t{outcome}\t{key}\n")
            sys.stdout.flush()

    def pace(seconds):
        return lambda: time.sleep(seconds)

    threading.Thread(target=connects, args=(host, say, pace(PACE["connect"])), daemon=True).start()
    requests(host, say, pace(PACE["request"]), seed, keys)


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    except (BrokenPipeError, KeyboardInterrupt):
        pass
