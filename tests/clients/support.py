"""What the Python tests share: where the endpoint is, keys nobody else uses, and values worth sending.

CLIENTS_PORTS holds three ports. On ringroad they are three listeners of one router; on memcached three servers. A
client with one server uses the first, a client that shards on its own uses all of them.
"""

import itertools
import os
import random
import time

HOST = "127.0.0.1"
PORTS = [int(port) for port in os.environ["CLIENTS_PORTS"].split()]
PORT = PORTS[0]
TARGET = os.environ["CLIENTS_TARGET"]

_numbers = itertools.count()

# Around the sizes at which buffers end, and the largest that fits into a default memcached with its item header.
SIZES = [0, 1, 2, 100, 1023, 1024, 2047, 2048, 4096, 8191, 16384, 65535, 65536, 262144, 1000000]


def key(hint="key"):
    """A key that no other test uses."""
    return f"{hint}-{os.getpid()}-{next(_numbers)}"


def keys(count, hint="many"):
    """That many keys; enough of them land on every server."""
    base = key(hint)
    return [f"{base}-{number}" for number in range(count)]


def value(size, seed=7):
    """Bytes of every kind, line ends and protocol words among them."""
    noise = random.Random(seed * 1000003 + size).randbytes(size)
    head = b"\r\nEND\r\nVALUE x 0 1\r\n"
    return (head + noise)[:size]


def until(condition, seconds=15):
    """Waits until the condition holds; fails after that many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.05)
