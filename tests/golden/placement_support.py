"""Keys, pools and real memcached servers for make_placement.py."""

import os
import random
import shutil
import socket
import subprocess
import time

SOCKET_DIR = "/tmp/ringroad-golden"
FAR_PORTS = range(22001, 22051)


# --- keys -----------------------------------------------------------------

def make_keys():
    """Text keys, and keys of bytes that only some of the clients can send."""
    rnd = random.Random(20240229)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/"
    text = ["a", "1", "key", "foo", "user:1000", "session:abc|#|x", "|#|", "a|#|"]
    text += ["{a}1", "{a}2", "x{user:7}y", "{}empty", "{open", "close}", "a{b}{c}",
             "a{b{c}d}", "}{x}", "$tag$1", "$$x", "x$tag$y$z", "'quote'", "\"dq\"", "back\\slash"]
    text += ["user:%d" % rnd.randrange(10 ** 6) for _ in range(60)]
    for length in list(range(1, 41)) + [63, 64, 65, 96, 127, 128, 191, 192, 193, 249, 250]:
        for _ in range(3 if length < 30 else 1):
            text.append("".join(rnd.choice(letters) for _ in range(length)))
    seen, unique = set(), []
    for key in text:
        if key not in seen:
            seen.add(key)
            unique.append(key.encode())
    utf8 = ["ä", "schlüssel", "ключ:42", "鍵", "😀", "naïve:42", "ÿþ", "x" * 7 + "é",
            "Ł{ö}1", "日本語のキー:12345"]
    utf8 = [key.encode() for key in utf8]
    raw = []
    for length in list(range(1, 34)) + [64, 100, 250]:
        raw.append(bytes(rnd.randrange(0x80, 0x100) for _ in range(length)))
    for length in range(2, 14):
        raw.append(bytes(rnd.choice(b"abc\x80\xff\xe9") for _ in range(length)))
    raw = [key for key in dict.fromkeys(raw) if key not in seen]
    return unique, utf8, raw


TEXT, UTF8, RAW = make_keys()


# --- nodes ----------------------------------------------------------------

class Node:
    def __init__(self, host, port, weight=None, name=None):
        self.host, self.port, self.weight = host, port, weight
        self.named = name is not None
        self.address = host if host.startswith("/") else "%s:%d" % (host, port)
        self.name = name or self.address

    def __str__(self):
        weight = "-" if self.weight is None else str(self.weight)
        return "%s|%s|%d|%s" % (self.name, self.host, self.port, weight)


def near(count, weights=None):
    return [Node("127.7.1.%d" % (i + 1), 11211, weights and weights[i]) for i in range(count)]


def far(count, weights=None, names=None):
    return [Node("127.7.1.1", FAR_PORTS[i], weights and weights[i], names and names[i])
            for i in range(count)]


def mixed():
    return [Node("127.7.1.1", 11211), Node("127.7.1.1", 22001), Node("127.7.1.2", 11211),
            Node("127.7.1.2", 22002)]


def unix(count):
    return [Node("%s/%d.sock" % (SOCKET_DIR, i), 0) for i in range(count)]


def named_hosts(count, port, weights=None):
    return [Node("cache-%d.example.internal" % i, port, weights and weights[i])
            for i in range(count)]


NAMES = ["cache-a", "cache-b", "10.0.0.1:11211", "node_four", "e"]


# --- real servers ----------------------------------------------------------

class Servers:
    """One memcached for every address that a case may use."""

    def __init__(self):
        os.makedirs(SOCKET_DIR, exist_ok=True)
        self.processes = []
        endpoints = [("127.7.1.%d" % i, 11211) for i in (1, 2, 3)]
        endpoints += [("127.7.1.1", port) for port in FAR_PORTS] + [("127.7.1.2", 22002)]
        for host, port in endpoints:
            self.start("-l", host, "-p", str(port), "-U", "0")
            wait_for((host, port))
        for node in unix(3):
            self.start("-s", node.host)
            wait_for(node.host)

    def start(self, *arguments):
        command = ["memcached", "-u", "nobody" if os.getuid() == 0 else os.environ.get("USER", ""),
                   "-t", "1", "-m", "16"]
        if "-s" in arguments:
            command += ["-a", "777"]
            os.chmod(SOCKET_DIR, 0o777)
        self.processes.append(subprocess.Popen(command + list(arguments)))

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        shutil.rmtree(SOCKET_DIR, ignore_errors=True)


def connect(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family)
    sock.settimeout(10)
    sock.connect(address)
    return sock


def wait_for(address):
    deadline = time.time() + 10
    while True:
        try:
            connect(address).close()
            return
        except OSError:
            if time.time() > deadline:
                raise
            time.sleep(0.02)


def endpoint(node):
    return node.host if node.host.startswith("/") else (node.host, node.port)


def read_line(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise RuntimeError("connection closed: %r" % line)
    return line[:-2]


def holds(node, keys, value):
    """The keys that this server holds with exactly this value."""
    found = set()
    with connect(endpoint(node)) as sock, sock.makefile("rb") as stream:
        for key in keys:
            sock.sendall(b"get " + key + b"\r\n")
            line = read_line(stream)
            if line == b"END":
                continue
            size = int(line.split(b" ")[3])
            body = stream.read(size + 2)[:-2]
            assert read_line(stream) == b"END"
            if body == value:
                found.add(key)
    return found


def locate(nodes, keys, value):
    """For every key the one node that holds it; each must be on exactly one."""
    where = {}
    for index, node in enumerate(nodes):
        for key in holds(node, keys, value):
            assert key not in where, "key %r is on two servers" % key
            where[key] = index
    missing = [key for key in keys if key not in where]
    assert not missing, "stored nowhere: %r" % missing[:3]
    return [where[key] for key in keys]


COUNTER = [0]


def fresh_value():
    """A value no earlier case used, so that what they left does not confuse."""
    COUNTER[0] += 1
    return b"%d-%d" % (os.getpid(), COUNTER[0])
