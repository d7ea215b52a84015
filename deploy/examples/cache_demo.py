"""Sets and gets keys through the ringroad of this node.

    pip install pymemcache
    python cache_demo.py                     in a pod with HOST_IP or NODE_NAME; elsewhere 127.0.0.1:5000
    python cache_demo.py --server HOST:PORT

What an application does: one client for one address, as if there were one memcached. Which server has a key is
ringroad's business.
"""

import argparse
import os
import sys

from pymemcache.client.base import Client

KEYS = 100


def own_node():
    """Where this node's ringroad is: the environment says so in a pod (see sample-application.yaml)."""
    return f"{os.environ.get('HOST_IP') or os.environ.get('NODE_NAME') or '127.0.0.1'}:5000"


def main():
    parser = argparse.ArgumentParser(description="Sets and gets keys through ringroad.")
    parser.add_argument("--server", default=own_node(), help="HOST:PORT of ringroad (%(default)s)")
    server = parser.parse_args().server
    client = Client(server, connect_timeout=2, timeout=2)

    client.set("mykey", "hello", expire=60)
    print("mykey:", client.get("mykey").decode())

    pairs = {f"demo:{number}": f"value {number}" for number in range(KEYS)}
    not_stored = client.set_many(pairs, expire=60, noreply=False)
    found = client.get_many(pairs)
    right = sum(found.get(key) == value.encode() for key, value in pairs.items())
    print(f"{right} of {KEYS} keys were stored and found again")
    return 0 if right == KEYS and not not_stored else 1


if __name__ == "__main__":
    sys.exit(main())
