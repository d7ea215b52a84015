#!/usr/bin/env python3
"""Records where real memcached clients and proxies place keys.

ringroad claims that a user can move from twemproxy, libmemcached, pylibmc,
pymemcache or python-memcached without any key changing its server. The files
that this script writes are what the tests of `src/hash` hold that claim
against, so nothing in here computes a placement itself: it asks the real thing.

  twemproxy.tsv         real memcached servers behind a real nutcracker: every
                        key is set through the proxy, then searched for on the
                        servers
  libmemcached.tsv      libmemcached's own memcached_generate_hash()
  libhashkit.tsv        the values of libhashkit's hash functions
  pylibmc.tsv           set through pylibmc, then searched for on the servers
  pymemcache.tsv        set through HashClient, then searched for on the servers
                        (for hosts that do not exist: HashClient._get_client)
  python_memcached.tsv  set through memcache.Client, then searched for
  spooky.tsv            the values of the spookyhash package (SpookyHash V2)
  jump.tsv              the jump-consistent-hash package over xxhash's xxh64

How to run (Debian; needs the loopback addresses 127.7.1.1 to 127.7.1.3, which
Linux has without any setup):

  apt-get install memcached nutcracker libmemcached11 libhashkit2
  python3 -m venv /tmp/golden && /tmp/golden/bin/pip install \
      pymemcache pylibmc python-memcached jump-consistent-hash xxhash spookyhash
  /tmp/golden/bin/python tests/golden/make_placement.py

Format: lines with `##` say what was asked. One line per case then starts with
`# case` and holds the placement in ringroad's terms and the nodes as
name|host|port|weight ("-": none given). All other lines are a key in hex and,
for every case in that order, the index of the node that got it.
"""

import ctypes
import os
import random
import socket
import subprocess
import sys
import tempfile

from placement_support import (NAMES, RAW, TEXT, UTF8, Node, Servers, connect, far, fresh_value,
                               locate, mixed, named_hosts, near, read_line, unix, wait_for)

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "placement")


# --- output ----------------------------------------------------------------

def write(name, notes, keys, cases):
    """cases: (description in ringroad's terms, nodes, indices)."""
    with open(os.path.join(OUT, name), "w") as out:
        for note in notes:
            out.write("## %s\n" % note)
        for description, nodes, indices in cases:
            assert len(indices) == len(keys)
            out.write("# case %s nodes=%s\n" % (description, " ".join(map(str, nodes))))
        for row, key in enumerate(keys):
            out.write("\t".join([key.hex()] + [str(indices[row]) for _, _, indices in cases]) + "\n")
    print("%s: %d cases x %d keys" % (name, len(cases), len(keys)))


def version_of(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip().splitlines()[0]


# --- twemproxy ---------------------------------------------------------------

TWEMPROXY_HASHES = ["one_at_a_time", "md5", "crc16", "crc32", "crc32a", "fnv1_64", "fnv1a_64",
                    "fnv1_32", "fnv1a_32", "hsieh", "murmur", "jenkins"]


def twemproxy_cases():
    cases = []

    def case(distribution, hash_name, nodes, tag=None):
        cases.append((distribution, hash_name, nodes, tag))

    for hash_name in TWEMPROXY_HASHES:
        case("ketama", hash_name, mixed())
        case("modula", hash_name, far(5))
    case(None, None, near(3))
    case("ketama", "fnv1a_64", near(1))
    case("ketama", "fnv1a_64", far(1))
    case("ketama", "fnv1a_64", near(2))
    case("ketama", "fnv1a_64", far(5))
    case("ketama", "fnv1a_64", far(50))
    case("ketama", "fnv1a_64", far(5, None, NAMES))
    case("ketama", "md5", near(3, [1, 2, 3]))
    case("ketama", "fnv1a_64", far(4, [5, 1, 1, 10]))
    case("ketama", "murmur", far(5, [100, 1, 37, 3, 1], NAMES))
    case("ketama", "murmur", far(7, [7, 7, 3, 3, 1, 13, 29]))
    case("ketama", "fnv1a_64", unix(3))
    case("ketama", "md5", mixed(), "{}")
    case("modula", "md5", far(5), "{}")
    case("ketama", "fnv1a_64", far(5), "$$")
    case("modula", "fnv1a_64", far(1))
    case("modula", "fnv1a_64", far(50))
    case("modula", "fnv1a_64", near(3, [1, 2, 3]))
    case("modula", "jenkins", far(4, [5, 1, 1, 10]))
    return cases


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def nutcracker_server(node):
    weight = 1 if node.weight is None else node.weight
    address = node.address
    return "%s:%d%s" % (address, weight, " " + node.name if node.named else "")


def make_twemproxy(directory):
    cases = twemproxy_cases()
    keys = TEXT + UTF8 + RAW
    ports, lines = [], []
    for index, (distribution, hash_name, nodes, tag) in enumerate(cases):
        ports.append(free_port())
        lines += ["p%d:" % index, "  listen: 127.0.0.1:%d" % ports[-1], "  timeout: 5000"]
        if distribution:
            lines += ["  distribution: %s" % distribution, "  hash: %s" % hash_name]
        if tag:
            lines.append("  hash_tag: \"%s\"" % tag)
        lines.append("  servers:")
        lines += ["   - %s" % nutcracker_server(node) for node in nodes]
    config = os.path.join(directory, "nutcracker.yml")
    with open(config, "w") as out:
        out.write("\n".join(lines) + "\n")
    proxy = subprocess.Popen(["nutcracker", "-c", config, "-s", str(free_port()), "-v", "0",
                              "-a", "127.0.0.1", "-p", os.path.join(directory, "pid")],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    recorded = []
    try:
        for port, (distribution, hash_name, nodes, tag) in zip(ports, cases):
            wait_for(("127.0.0.1", port))
            value = fresh_value()
            with connect(("127.0.0.1", port)) as sock, sock.makefile("rb") as stream:
                for key in keys:
                    sock.sendall(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
                    answer = read_line(stream)
                    assert answer == b"STORED", (key, answer)
            if distribution is None:
                description = "distribution=ketama_twemproxy hash=-"
            else:
                ours = {"ketama": "ketama_twemproxy", "modula": "modula"}[distribution]
                description = "distribution=%s hash=%s" % (ours, hash_name)
            description += " tag=%s" % (tag or "-")
            recorded.append((description, nodes, locate(nodes, keys, value)))
    finally:
        proxy.terminate()
        proxy.wait()
    write("twemproxy.tsv", ["%s, servers: %s" % (version_of("nutcracker", "--version"),
                                                  version_of("memcached", "--version")),
                            "keys set through the proxy, then searched for on the servers"],
          keys, recorded)


# --- libmemcached ------------------------------------------------------------

BEHAVIOR_HASH, BEHAVIOR_KETAMA, BEHAVIOR_DISTRIBUTION, BEHAVIOR_KETAMA_WEIGHTED = 2, 3, 9, 16
DISTRIBUTION = {"modula": 0, "consistent": 1, "consistent_weighted": 5}
LIBMEMCACHED_HASHES = {"one_at_a_time": 0, "md5": 1, "crc32": 2, "fnv1_64": 3, "fnv1a_64": 4,
                       "fnv1_32": 5, "fnv1a_32": 6, "hsieh": 7, "murmur": 8, "jenkins": 9,
                       "murmur3": 10}


class Libmemcached:
    def __init__(self, path):
        self.lib = lib = ctypes.CDLL(path)
        pointer = ctypes.c_void_p
        lib.memcached_create.restype = pointer
        lib.memcached_create.argtypes = [pointer]
        lib.memcached_free.argtypes = [pointer]
        lib.memcached_lib_version.restype = ctypes.c_char_p
        lib.memcached_behavior_set.argtypes = [pointer, ctypes.c_int, ctypes.c_uint64]
        lib.memcached_server_add_with_weight.argtypes = [pointer, ctypes.c_char_p, ctypes.c_uint16,
                                                         ctypes.c_uint32]
        lib.memcached_server_add_unix_socket_with_weight.argtypes = [pointer, ctypes.c_char_p,
                                                                     ctypes.c_uint32]
        lib.memcached_generate_hash.restype = ctypes.c_uint32
        lib.memcached_generate_hash.argtypes = [pointer, ctypes.c_char_p, ctypes.c_size_t]

    def version(self):
        return self.lib.memcached_lib_version().decode()

    def place(self, behaviors, nodes, keys):
        """The server index of every key; None if a behavior is not built in."""
        lib = self.lib
        handle = lib.memcached_create(None)
        try:
            for behavior, value in behaviors:
                if lib.memcached_behavior_set(handle, behavior, value) != 0:
                    return None
            for node in nodes:
                weight = 1 if node.weight is None else node.weight
                if node.host.startswith("/"):
                    done = lib.memcached_server_add_unix_socket_with_weight(
                        handle, node.host.encode(), weight)
                else:
                    done = lib.memcached_server_add_with_weight(handle, node.host.encode(),
                                                                node.port, weight)
                assert done == 0
            return [lib.memcached_generate_hash(handle, key, len(key)) for key in keys]
        finally:
            lib.memcached_free(handle)


def libmemcached_cases():
    cases = []
    ketama = [(BEHAVIOR_KETAMA, 1)]
    weighted = [(BEHAVIOR_KETAMA_WEIGHTED, 1)]
    modula = [(BEHAVIOR_DISTRIBUTION, DISTRIBUTION["modula"])]
    consistent = [(BEHAVIOR_DISTRIBUTION, DISTRIBUTION["consistent"])]

    def case(distribution, hash_name, behaviors, nodes):
        cases.append(("distribution=%s hash=%s tag=-" % (distribution, hash_name), behaviors, nodes))

    case("pylibmc", "-", [], near(3))
    case("pylibmc", "-", [], far(7))
    case("ketama", "-", ketama, near(1))
    case("ketama", "-", ketama, near(3))
    case("ketama", "-", ketama, far(5))
    case("ketama", "-", ketama, far(50))
    case("ketama", "-", ketama, mixed())
    case("ketama", "-", ketama, unix(3))
    case("ketama", "-", ketama, named_hosts(8, 11211))
    case("ketama", "-", ketama, named_hosts(8, 11311))
    case("ketama", "-", ketama, [Node("::1", 11211), Node("::1", 11212), Node("fe80::1", 11211)])
    case("ketama", "one_at_a_time", consistent, mixed())
    case("ketama_weighted", "-", weighted, near(1))
    case("ketama_weighted", "-", weighted, near(3))
    case("ketama_weighted", "-", weighted, mixed())
    case("ketama_weighted", "-", weighted, far(50))
    case("ketama_weighted", "-", weighted, near(3, [1, 2, 3]))
    case("ketama_weighted", "-", weighted, far(4, [5, 1, 1, 10]))
    case("ketama_weighted", "-", weighted, far(7, [7, 7, 3, 3, 1, 13, 29]))
    case("ketama_weighted", "-", weighted, far(5, [1000, 1, 37, 3, 1]))
    case("ketama_weighted", "-", weighted, named_hosts(8, 11311, [1, 1, 1, 2, 2, 2, 3, 3]))
    # A weight makes libmemcached's plain ketama the weighted one, but leaves the hash of keys.
    case("ketama_weighted", "one_at_a_time", ketama, far(4, [5, 1, 1, 10]))
    for hash_name, number in LIBMEMCACHED_HASHES.items():
        chosen = [(BEHAVIOR_HASH, number)]
        case("pylibmc", hash_name, modula + chosen, far(5))
        case("ketama", hash_name, consistent + chosen, mixed())
        case("ketama_weighted", hash_name, weighted + chosen, near(3, [1, 2, 3]))
    # Both take 15 bits from a key or a point, so that points coincide.
    case("ketama", "crc32", consistent + [(BEHAVIOR_HASH, LIBMEMCACHED_HASHES["crc32"])], far(50))
    case("ketama", "crc32", consistent + [(BEHAVIOR_HASH, LIBMEMCACHED_HASHES["crc32"])],
         named_hosts(100, 11211))
    return cases


def make_libmemcached():
    keys = TEXT + UTF8 + RAW
    library = Libmemcached("libmemcached.so.11")
    recorded, missing = [], []
    for description, behaviors, nodes in libmemcached_cases():
        indices = library.place(behaviors, nodes, keys)
        if indices is None:
            missing.append(description)
        else:
            recorded.append((description, nodes, indices))
    print("not built into this libmemcached:", missing)
    write("libmemcached.tsv", ["libmemcached %s, memcached_generate_hash()" % library.version()],
          keys, recorded)
    hashkit = ctypes.CDLL("libhashkit.so.2")
    names = [name for name, number in LIBMEMCACHED_HASHES.items()
             if hashkit.libhashkit_has_algorithm(number) & 0xff]
    with open(os.path.join(OUT, "libhashkit.tsv"), "w") as out:
        out.write("## libhashkit (of libmemcached %s): values in hex\n" % library.version())
        out.write("# columns %s\n" % " ".join(names))
        for key in [b""] + keys:
            row = [key.hex()]
            for name in names:
                function = getattr(hashkit, "libhashkit_" + name)
                function.restype = ctypes.c_uint32
                function.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
                row.append("%08x" % function(key, len(key)))
            out.write("\t".join(row) + "\n")
    print("libhashkit.tsv: %d functions x %d keys" % (len(names), len(keys) + 1))


# --- pylibmc -------------------------------------------------------------------

def make_pylibmc():
    import pylibmc
    keys = TEXT + UTF8
    hashes = {"one_at_a_time": "default", "md5": "md5", "crc32": "crc", "fnv1a_64": "fnv1a_64",
              "fnv1_32": "fnv1_32", "murmur": "murmur", "jenkins": "jenkins"}
    cases = [
        ("pylibmc", "-", None, near(3)),
        ("pylibmc", "-", None, far(7)),
        ("pylibmc", "-", {}, unix(3)),
        ("ketama", "-", {"ketama": True}, near(1)),
        ("ketama", "-", {"ketama": True}, near(3)),
        ("ketama", "-", {"ketama": True}, far(5)),
        ("ketama", "-", {"ketama": True}, mixed()),
        ("ketama", "-", {"ketama": True}, unix(3)),
        ("ketama", "-", {"ketama": True}, far(50)),
        ("ketama", "one_at_a_time", {"distribution": "consistent"}, mixed()),
        ("ketama", "one_at_a_time", {"distribution": "consistent ketama"}, far(5)),
        ("ketama", "md5", {"distribution": "consistent", "hash": "md5"}, mixed()),
        ("ketama_weighted", "-", {"ketama_weighted": True}, near(3)),
        ("ketama_weighted", "-", {"ketama_weighted": True}, mixed()),
        ("ketama_weighted", "-", {"ketama_weighted": True}, near(3, [1, 2, 3])),
        ("ketama_weighted", "-", {"ketama_weighted": True}, far(4, [5, 1, 1, 10])),
        ("ketama_weighted", "-", {"ketama": True, "ketama_weighted": True},
         far(7, [7, 7, 3, 3, 1, 13, 29])),
        # A weight makes plain ketama the weighted one, but leaves the hash of keys.
        ("ketama_weighted", "one_at_a_time", {"ketama": True}, far(4, [5, 1, 1, 10])),
        ("pylibmc", "-", None, far(4, [5, 1, 1, 10])),
    ]
    for ours, theirs in hashes.items():
        cases.append(("pylibmc", ours, {"hash": theirs}, far(5)))
        cases.append(("ketama", ours, {"distribution": "consistent", "hash": theirs}, mixed()))
    recorded = []
    for distribution, hash_name, behaviors, nodes in cases:
        specs = [n.address + ("" if n.weight is None else ":%d" % n.weight) for n in nodes]
        client = pylibmc.Client(specs, behaviors=behaviors)
        value = fresh_value()
        for key in keys:
            assert client.set(key, value), key
        description = "distribution=%s hash=%s tag=-" % (distribution, hash_name)
        indices = locate(nodes, keys, value)
        if distribution == "pylibmc" and nodes[0].weight:
            # Weights that were given to pylibmc but have no effect there, and are an error here.
            description += " ignored_weights=" + ",".join(str(n.weight) for n in nodes)
            nodes = [Node(n.host, n.port) for n in nodes]
        recorded.append((description, nodes, indices))
        client.disconnect_all()
    write("pylibmc.tsv", ["pylibmc %s (libmemcached %s), behaviors None, ketama, ketama_weighted, "
                          "distribution, hash" % (pylibmc.__version__, pylibmc.libmemcached_version),
                          "keys set through the client, then searched for on the servers"],
          keys, recorded)


# --- pymemcache, python-memcached -------------------------------------------------

def package_version(name):
    from importlib.metadata import version
    return "%s %s" % (name, version(name))


def make_pymemcache():
    from pymemcache.client.hash import HashClient
    keys = TEXT + UTF8
    recorded = []
    for nodes, real in [(near(1), True), (near(3), True), (far(5), True), (mixed(), True),
                        (far(50), True), (unix(3), True), (named_hosts(8, 11211), False),
                        ([Node("::1", 11211), Node("::1", 11212), Node("fe80::1", 11211)], False)]:
        specs = [n.host if n.host.startswith("/") else (n.host, n.port) for n in nodes]
        client = HashClient(specs, allow_unicode_keys=True)
        owners = [client._get_client(key.decode()) for key in keys]
        indices = [specs.index(owner.server) for owner in owners]
        if real:
            value = fresh_value()
            for key in keys:
                assert client.set(key.decode(), value, noreply=False)
            assert indices == locate(nodes, keys, value)
            client.close()
        recorded.append(("distribution=pymemcache hash=- tag=-", nodes, indices))
    write("pymemcache.tsv", [package_version("pymemcache") + ", HashClient, keys given as str",
                             "keys set through the client, then searched for on the servers"],
          keys, recorded)


def make_python_memcached():
    import memcache
    keys = TEXT + UTF8
    recorded = []
    for nodes in [near(1), near(3), far(5), mixed(), far(50), near(3, [1, 2, 3]),
                  far(4, [5, 1, 1, 10]), unix(3)]:
        specs = ["unix:" + n.host if n.host.startswith("/") else n.address for n in nodes]
        specs = [spec if n.weight is None else (spec, n.weight) for spec, n in zip(specs, nodes)]
        client = memcache.Client(specs)
        value = fresh_value()
        for key in keys:
            assert client.set(key.decode(), value), key
        recorded.append(("distribution=python_memcached hash=- tag=-", nodes,
                         locate(nodes, keys, value)))
        client.disconnect_all()
    write("python_memcached.tsv", [package_version("python-memcached") + ", memcache.Client",
                                   "keys set through the client, then searched for on the servers"],
          keys, recorded)


# --- spooky ---------------------------------------------------------------------

def make_spooky():
    import spookyhash
    seeds = [0, 1, 0xface2014]
    rnd = random.Random(7)
    messages = [bytes(rnd.randrange(256) for _ in range(length))
                for length in list(range(0, 36)) + list(range(180, 300)) + [383, 384, 385, 1000]]
    with open(os.path.join(OUT, "spooky.tsv"), "w") as out:
        out.write("## %s: hash32(message, seed) in hex\n" % package_version("spookyhash"))
        out.write("# columns %s\n" % " ".join("%08x" % seed for seed in seeds))
        for message in messages:
            values = ["%08x" % spookyhash.hash32(message, seed) for seed in seeds]
            out.write("\t".join([message.hex()] + values) + "\n")
    print("spooky.tsv: %d messages" % len(messages))


# --- jump -----------------------------------------------------------------------

def make_jump():
    import jump
    import xxhash
    keys = [b""] + TEXT + UTF8 + RAW
    recorded = []
    for count in (1, 2, 3, 7, 10, 100, 1000):
        nodes = [Node("h", 1 + i) for i in range(count)]
        indices = [jump.hash(xxhash.xxh64_intdigest(key), count) for key in keys]
        recorded.append(("distribution=jump hash=- tag=-", nodes, indices))
    write("jump.tsv", ["%s over xxh64 of %s" % (package_version("jump-consistent-hash"),
                                              package_version("xxhash"))], keys, recorded)


def main():
    wanted = sys.argv[1:]
    os.makedirs(OUT, exist_ok=True)
    servers = Servers()
    try:
        with tempfile.TemporaryDirectory() as directory:
            steps = {"twemproxy": lambda: make_twemproxy(directory),
                     "libmemcached": make_libmemcached, "pylibmc": make_pylibmc,
                     "pymemcache": make_pymemcache, "python_memcached": make_python_memcached,
                     "spooky": make_spooky, "jump": make_jump}
            for name, step in steps.items():
                if not wanted or name in wanted:
                    step()
    finally:
        servers.stop()


if __name__ == "__main__":
    main()
