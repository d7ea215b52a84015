"""memcached and ringroad as processes on loopback, and waiting for what they do."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

RINGROAD = os.environ["RINGROAD"]
MEMCACHED = os.environ.get("MEMCACHED", "memcached")
PATIENCE = 60


def wait_for(condition, what):
    """Polls; fails after a minute."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"in vain: waited for {what}"
        time.sleep(0.02)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def is_open(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Process:
    """Begins with `start`; is gone after the block."""

    def __init__(self, command, port):
        self.command = [str(part) for part in command]
        self.port = port
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers():
            assert self.process.poll() is None, f"{self.command} ended with {self.process.returncode}"
            return is_open(self.port)

        wait_for(answers, f"port {self.port} of {self.command[0]}")
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    __enter__ = start

    def __exit__(self, *_):
        if self.process:
            self.kill()


def memcached(port=None):
    port = port or free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    return Process([shutil.which(MEMCACHED) or MEMCACHED, "-l", "127.0.0.1", "-p", port, "-U", "0", "-t", "1", *user], port)


@contextlib.contextmanager
def ringroad(text, port):
    """With this configuration, which listens on this port."""
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, "ringroad.toml")
        file.write_text(text)
        with Process([RINGROAD, "run", "--config", file], port) as process:
            yield process


def check(text, name="ringroad.toml"):
    """What `ringroad check` says of this configuration."""
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, name)
        file.write_text(text)
        return subprocess.run([RINGROAD, "check", str(file)], capture_output=True, text=True, timeout=60)
