"""Sets and gets a key through ringroad: one address, or the ringroad of every node.

    through_ringroad.py check HOST PORT      HOST may be env:NAME, a variable of the environment
    through_ringroad.py wait                 a tester's own work: nothing, until it is stopped
    through_ringroad.py every PORT PODS [TESTERS] --seconds N

`every` asks each address of the Service PODS itself. Where there are testers, one on each node whose readiness is
`check` with its own node's address, it then waits until as many of them are ready (addresses of the Service TESTERS) as
there are ringroads. So no rights on the cluster are needed: everything is known from DNS.
Python without further packages; its resolver, unlike those of smaller images, takes answers of a thousand addresses.
"""

import os
import signal
import socket
import sys
import time

LIMIT = 5  # seconds a server has for each answer


def check(host, port):
    """Raises OSError or ValueError, with the reason, unless a key can be set and is found again."""
    key = f"ringroad-test-{socket.gethostname()}".encode()
    value = os.urandom(8).hex().encode()
    with socket.create_connection((host, port), timeout=LIMIT) as connection:
        connection.sendall(b"set %s 0 60 %d\r\n%s\r\nget %s\r\nquit\r\n" % (key, len(value), value, key))
        answer = b""
        while part := connection.recv(4096):
            answer += part
    expected = b"STORED\r\nVALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(value), value)
    if answer != expected:
        raise ValueError(f"answered {answer!r}")


def addresses(name):
    """All addresses of a Service; none while DNS does not know it."""
    try:
        return sorted({entry[4][0] for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})
    except socket.gaierror:
        return []


def failures(found, port):
    """What is wrong with each of these ringroads, as lines."""
    wrong = []
    for address in found:
        try:
            check(address, port)
        except (OSError, ValueError) as error:
            wrong.append(f"ringroad at {address}: {error}")
    return wrong


def every(port, pods, testers, seconds):
    deadline = time.monotonic() + seconds
    while True:
        found = addresses(pods)
        wrong = failures(found, port) if found else [f"{pods} has no addresses"]
        if not wrong and testers:
            ready = addresses(testers)
            if len(ready) < len(found):
                wrong = [f"a key could be set and found on {len(ready)} nodes, ringroad runs on {len(found)}"]
        if not wrong:
            print(f"a key could be set and found through each of {len(found)} ringroads")
            return 0
        print(*wrong, sep="\n", flush=True)
        if time.monotonic() > deadline:
            return 1
        time.sleep(2)


def main(arguments):
    match arguments:
        case ["check", host, port]:
            host = os.environ[host.removeprefix("env:")] if host.startswith("env:") else host
            try:
                check(host, int(port))
            except (OSError, ValueError) as error:
                print(f"{host}:{port}: {error}")
                return 1
            return 0
        case ["wait"]:
            signals = {signal.SIGTERM, signal.SIGINT}
            signal.pthread_sigmask(signal.SIG_BLOCK, signals)
            signal.sigwait(signals)
            return 0
        case ["every", port, pods, *testers, "--seconds", seconds] if len(testers) <= 1:
            return every(int(port), pods, testers[0] if testers else None, float(seconds))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
