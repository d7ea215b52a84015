"""The parts of the cluster that come and go: pods, their DNS, ringroad on the nodes, and faults of the network.

run.sh has made the nodes and the wire between them. Addresses: node N is 172.20.0.N, its pods are in 10.244.N.0/24 and
never get an address twice; kube-dns is 10.96.0.10, ringroad's Service (mode "service") 10.96.0.50.
Nothing here waits for a time to pass: it waits for a condition, with a deadline.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import time

from client import Memcache

NODES = (1, 2, 3)
NODE_PORT = 5000
ADMIN_PORT = 5001
MEMCACHED_PORT = 11211
SERVICE_IP = "10.96.0.50"
SERVICE = "mc.default.svc.cluster.local"


class Failed(Exception):
    """The scenario can't go on."""


def eventually(what, condition, seconds=30.0):
    """Waits until condition() is true; returns what it gave and how many seconds it took."""
    began = time.monotonic()
    while True:
        result = condition()
        now = time.monotonic()
        if result:
            return result, now - began
        if now > began + seconds:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)


def run(*command, stdin=None):
    done = subprocess.run(command, input=stdin, text=True, capture_output=True)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")


def inside(namespace, *command):
    return ["nsenter", f"--net=/run/netns/{namespace}", *command]


def nft(namespace, rules):
    run(*inside(namespace, "nft", "-f", "-"), stdin=rules)


def node_name(node):
    return f"node-{node}"


def node_ip(node):
    return f"172.20.0.{node}"


class Process:
    """A program in a network namespace; what it says goes into a file."""

    def __init__(self, namespace, log, *command, **options):
        with open(log, "ab") as output:
            options.setdefault("stdout", output)
            self.popen = subprocess.Popen(
                inside(namespace, *command), stdin=subprocess.DEVNULL, stderr=output, **options
            )

    def signal(self, number):
        self.popen.send_signal(number)

    def ended(self):
        return self.popen.poll() is not None

    def wait(self, seconds=30):
        return self.popen.wait(seconds)

    def kill(self):
        self.popen.kill()
        self.popen.wait()


class Pod:
    """A network namespace with an address of its node's range."""

    _last = {node: 1 for node in NODES}

    def __init__(self, node, name):
        Pod._last[node] += 1
        number = Pod._last[node]
        self.node, self.name = node, name
        self.ip = f"10.244.{node}.{number}"
        self.namespace = f"{name}.{node}.{number}"
        self.process = None
        host, outer = node_name(node), f"pod{number}"
        gateway = f"10.244.{node}.1"
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "add", "eth0", "type", "veth", "peer", "name", outer, "netns", host)
        batch = f"address add {gateway}/32 dev {outer}\nlink set {outer} up\nroute add {self.ip}/32 dev {outer}\n"
        run("ip", "-n", host, "-batch", "-", stdin=batch)
        batch = (
            f"link set lo up\naddress add {self.ip}/32 dev eth0\nlink set eth0 up\n"
            f"route add {gateway} dev eth0\nroute add default via {gateway}\n"
        )
        run("ip", "-n", self.namespace, "-batch", "-", stdin=batch)

    def delete(self):
        """As the kubelet does at the end: what still runs is killed, the network is taken down."""
        if self.process and not self.process.ended():
            self.process.kill()
        run("ip", "netns", "delete", self.namespace)


class Dns:
    """kube-dns: knot, answering for headless Services as CoreDNS does."""

    def __init__(self, scratch):
        self.dir, self.ttl, self.serial = f"{scratch}/dns", 5, 0
        os.mkdir(self.dir)
        zones = "".join(f"  - domain: {zone}\n    file: {zone}zone\n" for zone in ("cluster.local.", "10.in-addr.arpa."))
        with open(f"{self.dir}/knot.conf", "w") as conf:
            conf.write(
                f"server:\n    rundir: {self.dir}\n    listen: 172.20.0.53@53\n    udp-workers: 1\n    tcp-workers: 1\n"
                f"    background-workers: 1\ncontrol:\n    listen: {self.dir}/socket\nlog:\n  - target: stderr\n"
                f"    any: info\ndatabase:\n    storage: {self.dir}\n    journal-db-max-size: 16M\n"
                f"    kasp-db-max-size: 16M\n    timer-db-max-size: 16M\ntemplate:\n  - id: default\n"
                f"    storage: {self.dir}\n    zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: none\n"
                f"zone:\n{zones}"
            )
        self._write({})
        self.process = Process("dns", f"{scratch}/knotd.log", "knotd", "-c", f"{self.dir}/knot.conf")
        eventually("knotd answers", lambda: self._control("zone-read", "cluster.local.", "@", "SOA"))

    def _control(self, *command):
        done = subprocess.run(["knotc", "-b", "-t", "20", "-s", f"{self.dir}/socket", *command], capture_output=True)
        return done.returncode == 0

    def show(self, pods):
        """The Service's ready endpoints are these: {name: ip}. None at all: its name does not exist."""
        self._write(pods)
        for zone in ("cluster.local.", "10.in-addr.arpa."):
            if not self._control("zone-reload", zone):
                raise Failed(f"knotd does not take the zone {zone}")

    def _write(self, pods):
        self.serial += 1
        head = f"@ 5 SOA ns. hostmaster. {self.serial} 3600 600 86400 5\n@ 5 NS ns.\n"
        names, addresses = head, head
        for name, ip in pods.items():
            host = f"{name}.{SERVICE}."
            for owner, data in (
                (f"{SERVICE}.", f"A {ip}"),
                (host, f"A {ip}"),
                (f"{SERVICE}.", f"SRV 0 100 {MEMCACHED_PORT} {host}"),
                (f"_memcache._tcp.{SERVICE}.", f"SRV 0 100 {MEMCACHED_PORT} {host}"),
            ):
                names += f"{owner} {self.ttl} {data}\n"
            reverse = ".".join(reversed(ip.split(".")))
            addresses += f"{reverse}.in-addr.arpa. {self.ttl} PTR {host}\n"
        for zone, text in (("cluster.local.", names), ("10.in-addr.arpa.", addresses)):
            with open(f"{self.dir}/new", "w") as file:
                file.write(text)
            os.rename(f"{self.dir}/new", f"{self.dir}/{zone}zone")


def accepts(ip, port):
    try:
        socket.create_connection((ip, port), 0.2).close()
        return True
    except OSError:
        return False


def get(admin, path):
    """A page of an admin port: status and text; (None, "") if there is no answer."""
    connection = http.client.HTTPConnection(*admin, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return None, ""
    finally:
        connection.close()


class Router:
    """One ringroad: in a pod of its own or, in the mode "reuse_port", in its node's network."""

    _count = 0

    def __init__(self, cluster, node):
        Router._count += 1
        self.node, self.pod = node, None
        if cluster.mode == "reuse_port":
            # Two of them share the port for a while, and each must be asked for itself.
            namespace, self.ip = node_name(node), node_ip(node)
            self.admin = (self.ip, ADMIN_PORT + Router._count)
        else:
            self.pod = Pod(node, "ringroad")
            namespace, self.ip = self.pod.namespace, self.pod.ip
            self.admin = (self.ip, ADMIN_PORT)
        self.config = f"{cluster.scratch}/ringroad-{Router._count}.toml"
        self.configure(cluster.mode)
        log = f"{cluster.scratch}/ringroad-node-{node}.log"
        command = [cluster.ringroad, "run", "--config", self.config, "--log-format", "human"]
        self.process = Process(namespace, log, *command)
        if self.pod:
            self.pod.process = self.process

    def configure(self, mode, membership=""):
        """Writes its configuration; while it runs it reads it again by itself."""
        listen = f'[":{NODE_PORT}"]'
        if mode == "reuse_port":
            listen = f'[{{ tcp = ":{NODE_PORT}", reuse_port = true }}]'
        delay = "" if mode == "hostport" else 'shutdown_delay = "3s"\n'
        text = (
            f'listen = {listen}\nworkers = 2\ndrain = "10s"\n{delay}[pools.cache]\ndiscover = "{SERVICE}"\n'
            # A busy machine is not a slow server.
            f'timeout = "2s"\n'
            f'[pools.cache.membership]\n{membership}\n[admin]\nlisten = ":{self.admin[1]}"\n'
        )
        with open(f"{self.config}.new", "w") as file:
            file.write(text)
        os.rename(f"{self.config}.new", self.config)

    def is_ready(self):
        if self.process.ended():
            raise Failed(f"ringroad on {node_name(self.node)} has ended by itself; see its log")
        return get(self.admin, "/readyz")[0] == 200

    def setting(self, line):
        """Whether this line is in the configuration in force."""
        return line in get(self.admin, "/config")[1].splitlines()

    def pool(self):
        """Its pool as /members tells it."""
        status, text = get(self.admin, "/members")
        return json.loads(text)[0] if status == 200 else {"members": [], "digest": None}

    def members(self):
        """Whom its ring has, {name: address}; an address is None while DNS does not show it."""
        return {
            member["name"]: member["address"].rpartition(":")[0] if member["state"] == "present" else None
            for member in self.pool()["members"]
        }


class Cluster:
    """Three nodes with memcached pods, kube-dns, and ringroad on every node."""

    def __init__(self, ringroad, scratch):
        self.ringroad, self.scratch = ringroad, scratch
        self.dns = Dns(scratch)
        self.pods, self.shown, self.routers = {}, set(), {}
        self.mode = "hostport"

    def start(self):
        """A memcached pod and a ringroad on every node."""
        for node in NODES:
            self.start_memcached(f"mc-{node - 1}", node)
        self.show_all()
        self.start_routers("hostport")
        self.until_followed()

    # --- memcached

    def start_memcached(self, name, node):
        pod = Pod(node, name)
        command = ["memcached", "-l", pod.ip, "-p", str(MEMCACHED_PORT), "-U", "0", "-t", "1", "-m", "64", "-u", "root"]
        pod.process = Process(pod.namespace, f"{self.scratch}/{name}.log", *command)
        self.pods[name] = pod
        eventually(f"{name} accepts connections", lambda: accepts(pod.ip, MEMCACHED_PORT))

    def stop_memcached(self, name):
        """As a pod is deleted: it is told to end, and its network goes when it has."""
        pod = self.pods.pop(name)
        pod.process.signal(signal.SIGTERM)
        pod.process.wait()
        pod.delete()

    def show(self, *names):
        """DNS shows these pods."""
        self.dns.show({name: self.pods[name].ip for name in names})

    def show_all(self):
        self.show(*sorted(self.pods))

    def addresses(self):
        return {name: pod.ip for name, pod in self.pods.items()}

    # --- ringroad

    def start_routers(self, mode):
        """Ringroad on every node, in this mode, in the place of what was there."""
        for node in list(self.routers):
            self.stop_router(node)
        self.mode = mode
        for node in NODES:
            self.routers[node] = Router(self, node)
        for node, router in self.routers.items():
            eventually(f"ringroad on {node_name(node)} is ready", router.is_ready)
            self.send_to(node, router)

    def stop_router(self, node):
        self.send_to(node)
        self.remove(self.routers.pop(node))

    def remove(self, router):
        """The end of its pod."""
        if not router.process.ended():
            router.process.kill()
        if router.pod:
            router.pod.delete()

    def target(self, node):
        """What applications of a node connect to."""
        return SERVICE_IP if self.mode == "service" else node_ip(node)

    def send_to(self, node, *routers):
        """New connections of a node's applications go to these, by turns; the ones that exist stay where they are."""
        if self.mode == "reuse_port":
            return
        rules = "flush chain ip kube ports\n"
        for left in range(len(routers), 0, -1):
            turn = f"numgen inc mod {left} 0 " if left > 1 else ""
            to = f"{routers[left - 1].ip}:{NODE_PORT}"
            rules += f"add rule ip kube ports ip daddr {self.target(node)} tcp dport {NODE_PORT} {turn}dnat to {to}\n"
        nft(node_name(node), rules)

    def until_followed(self, seconds=30, nodes=NODES):
        """Waits until the rings of these nodes have every pod, at its address, and no other. The seconds, by node."""
        began, took, want = time.monotonic(), {}, self.addresses()
        while len(took) < len(nodes):
            for node in nodes:
                if node not in took and self.routers[node].members() == want:
                    took[node] = time.monotonic() - began
            if time.monotonic() > began + seconds:
                raise Failed(f"not within {seconds} s: the routers know {want}")
            time.sleep(0.02)
        return took

    def digests(self):
        """The rings of all routers: one, if they agree."""
        return {router.pool()["digest"] for router in self.routers.values()}

    # --- what is stored

    def fill(self, keys, tag):
        """Stores every key anew, a third through each node's ringroad."""
        for at, node in enumerate(NODES):
            with Memcache(self.routers[node].ip, NODE_PORT) as client:
                for key in keys[at :: len(NODES)]:
                    answer = client.set(key, f"{key}={tag}")
                    if answer != "STORED":
                        raise Failed(f"filling: {node_name(node)}: {answer}")

    def serves(self, node, keys):
        """Whether a node's ringroad stores these keys, all of its workers: each knows for itself which servers are up."""
        clients = []
        try:
            # Each connection goes to the worker with the fewest.
            for _ in range(4):
                clients.append(Memcache(self.routers[node].ip, NODE_PORT))
            return all(client.set(key, f"{key}=fill") == "STORED" for client in clients for key in keys)
        except OSError:
            return False
        finally:
            for client in clients:
                client.close()

    def owners(self, keys, tag):
        """Which pod has each key with this tag."""
        owners = {}
        for name, pod in self.pods.items():
            with Memcache(pod.ip, MEMCACHED_PORT) as client:
                for key in keys:
                    if client.get(key) == f"{key}={tag}":
                        if key in owners:
                            raise Failed(f"{key} is at {owners[key]} and at {name}")
                        owners[key] = name
        return owners

    # --- faults

    def lose_node(self, node):
        """Its cable is pulled."""
        run("ip", "-n", "wire", "link", "set", node_name(node), "down")

    def return_node(self, node):
        run("ip", "-n", "wire", "link", "set", node_name(node), "up")

    def partition(self, one, other):
        """Pods of these two nodes don't reach each other."""
        there, here = f"10.244.{other}.0/24", f"10.244.{one}.0/24"
        nft(node_name(one), "".join(
            f"add rule ip kube forward ip saddr {a} ip daddr {b} drop\n" for a, b in ((there, here), (here, there))
        ))

    def heal(self, node):
        nft(node_name(node), "flush chain ip kube forward\n")

    def lose_dns(self):
        """Packets to kube-dns vanish."""
        run("ip", "-n", "wire", "link", "set", "dns", "down")

    def return_dns(self):
        run("ip", "-n", "wire", "link", "set", "dns", "up")

    def print_logs(self):
        """What every program said last."""
        for file in sorted(os.listdir(self.scratch)):
            if file.endswith(".log"):
                with open(f"{self.scratch}/{file}", errors="replace") as log:
                    lines = log.readlines()[-15:]
                print(f"--- {file}\n{''.join(lines)}", end="")
