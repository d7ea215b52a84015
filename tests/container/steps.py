"""The image as it is, and a container of it run with what the rendered chart says: what must hold.

    python3 steps.py IMAGE BASE CHART SCRATCH PODMAN...      in the namespaces that run.sh has made
    python3 steps.py --list

PODMAN is the command with its global options, BASE an image with memcached. Three memcached containers stand behind the
chart's Service name, in the DNS server of podman's network. RINGROAD is a binary to put load on the container with.
"""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

STEPS = []
PORT, ADMIN = 5000, 5001
SMALL = ["--set", "resources.limits.memory=64Mi"]
LIMITS = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096", "--cgroup-parent", "/ringroad-test"]


class Failed(Exception):
    """A step that does not hold, and why."""


class Skipped(Exception):
    """A step that can't be done here, and why."""


def step(function):
    STEPS.append(function)
    return function


def must(holds, why):
    if not holds:
        raise Failed(why)


def run(*command, check=True, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=180, **options)
    must(done.returncode == 0 or not check, f"{command[-1]}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def eventually(what, condition, seconds=30):
    began = time.monotonic()
    while not condition():
        must(time.monotonic() < began + seconds, f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


def page(path):
    """Status of a page of the published admin port; None without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", ADMIN, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Client:
    """A client of the published port."""

    def __init__(self, window=None):
        self.socket = socket.socket()
        self.socket.settimeout(10)
        if window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.connect(("127.0.0.1", PORT))
        self.file = self.socket.makefile("rb")

    def send(self, text):
        self.socket.sendall(text.encode())

    def line(self):
        return self.file.readline().decode().rstrip("\r\n")

    def ask(self, text):
        self.send(text)
        return self.line()

    def close(self):
        self.file.close()
        self.socket.close()


class Bench:
    """What the steps share."""

    def __init__(self, image, base, chart, scratch, *podman):
        self.image, self.base, self.chart = image, base, chart
        self.scratch, self.command = pathlib.Path(scratch), podman
        self.id, self.limit = None, None

    def podman(self, *arguments, check=True):
        return run(*self.command, *arguments, check=check)

    def inspect(self, kind):
        return json.loads(self.podman(kind, "inspect", self.image if kind == "image" else self.id).stdout)[0]

    def rendered(self, *values):
        """The DaemonSet's pod, the ConfigMaps, and the name of memcached's Service, of the chart with these values."""
        import yaml

        command = ["helm", "template", "mycache", self.chart, "--namespace", "default", "--kube-version", "1.34.0"]
        text = run(*command, *values).stdout
        objects = [document for document in yaml.safe_load_all(text) if document]
        # What `helm test` would start is not meant.
        objects = [o for o in objects if "helm.sh/hook" not in o["metadata"].get("annotations", {})]
        (pod,) = (o["spec"]["template"]["spec"] for o in objects if o["kind"] == "DaemonSet")
        service = next(o["metadata"]["name"] for o in objects if o["kind"] == "StatefulSet")
        return pod, {o["metadata"]["name"]: o["data"] for o in objects if o["kind"] == "ConfigMap"}, service

    def start(self, *values):
        """Runs it as the chart with these values has it run, in the place of the one before. What it took, and how."""
        if self.id:
            self.podman("rm", "--force", "--time", "0", self.id)
        pod, maps, service = self.rendered(*values)
        if not self.id:
            self.start_memcached(service)
        container = pod["containers"][0]
        self.limit = mebibytes(container["resources"]["limits"]["memory"])
        flags = security_flags(pod, container) + volume_flags(pod, container, maps, self.scratch)
        for port in container["ports"]:
            flags += ["--publish", f"127.0.0.1:{port['containerPort']}:{port['containerPort']}"]
        flags += ["--memory", f"{self.limit}m"]
        command = ["run", "--detach", *LIMITS, "--network", "pods", *flags, self.image, *container["args"]]
        self.id = self.podman(*command).stdout.strip()
        took = eventually("/readyz answers 200", lambda: page("/readyz") == 200)
        return f"after {took:.2f} s; {' '.join(flags)}"

    def start_memcached(self, service):
        """Three, behind the name of the chart's Service."""
        self.podman("network", "create", "pods")
        name = f"{service}.default.svc.cluster.local"
        for number in range(3):
            self.podman(
                "run", "--detach", *LIMITS, "--network", "pods", "--name", f"memcached-{number}", "--network-alias", name,
                self.base, "memcached", "-u", "nobody", "-m", "64", "-c", "4096", "-t", "1",
            )

    def is_running(self):
        return self.inspect("container")["State"]["Running"]

    def pid(self):
        return self.inspect("container")["State"]["Pid"]

    def memory(self, *names):
        """A figure of the container's memory group, by its name in version 2 or 1 of groups."""
        for line in pathlib.Path(f"/proc/{self.pid()}/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or "memory" in controllers.split(","):
                top = "/sys/fs/cgroup/memory" if "memory" in controllers else "/sys/fs/cgroup"
                for name in names:
                    file = pathlib.Path(f"{top}{path}/{name}")
                    if file.exists():
                        return int(file.read_text())
        raise Skipped(f"this kernel tells nothing of {' or '.join(names)}")


def mebibytes(quantity):
    must(quantity.endswith("Mi"), f"a memory limit that this test does not know: {quantity}")
    return int(quantity[:-2])


def security_flags(pod, container):
    """Podman's options for the securityContext of a pod and its container. What has no option here is refused."""
    flags, context = [], {**pod["securityContext"], **container["securityContext"]}
    user = f"{context.pop('runAsUser')}:{context.pop('runAsGroup')}"
    flags += ["--user", user]
    if context.pop("runAsNonRoot", False):
        must(not user.startswith("0:"), "runAsNonRoot, and the user is root")
    if (group := context.pop("fsGroup", None)) is not None:
        flags += ["--group-add", str(group)]
    if not context.pop("allowPrivilegeEscalation", True):
        flags += ["--security-opt", "no-new-privileges"]
    if context.pop("readOnlyRootFilesystem", False):
        flags += ["--read-only", "--read-only-tmpfs=false"]
    capabilities = context.pop("capabilities", {})
    for verb in ("drop", "add"):
        for name in capabilities.get(verb, []):
            flags += [f"--cap-{verb}", name.lower()]
    # Podman's own seccomp profile is in force without being named.
    must(context.pop("seccompProfile") == {"type": "RuntimeDefault"}, "the seccomp profile is not RuntimeDefault")
    must(not context, f"settings of the securityContext that this test does not know: {context}")
    return flags


def volume_flags(pod, container, maps, scratch):
    flags, volumes = [], {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        volume, at = volumes[mount["name"]], mount["mountPath"]
        if "configMap" in volume:
            directory = scratch / mount["name"]
            directory.mkdir(mode=0o755, exist_ok=True)
            for name, text in maps[volume["configMap"]["name"]].items():
                (directory / name).write_text(text)
            flags += ["--volume", f"{directory}:{at}:ro"]
        else:
            must("emptyDir" in volume, f"a volume that this test does not know: {volume}")
            flags += ["--mount", f"type=tmpfs,destination={at},tmpfs-size=1m,tmpfs-mode=0777"]
    return flags


# --- the image ------------------------------------------------------------------------------------------------------


@step
def it_has_at_most_15_mb(bench):
    size = bench.inspect("image")["Size"]
    must(size <= 15_000_000, f"{size / 1e6:.1f} MB")
    return f"{size / 1e6:.1f} MB"


@step
def it_runs_as_a_user_of_its_own_and_says_what_it_is(bench):
    image = bench.inspect("image")
    config = image["Config"]
    must(re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", config["User"]), f"user {config['User']!r}")
    labels = config["Labels"]
    for name in ("title", "description", "licenses", "version"):
        must(labels.get(f"org.opencontainers.image.{name}"), f"no label {name}")
    must(image.get("Healthcheck") or config.get("Healthcheck"), "no health check")
    return f"user {config['User']}, version {labels['org.opencontainers.image.version']}"


@step
def it_has_ringroad_and_mcrouter_on_its_path(bench):
    said = [
        bench.podman("run", "--rm", *LIMITS, "--network", "none", "--entrypoint", name, bench.image, "--version").stdout
        for name in ("ringroad", "mcrouter")
    ]
    must(all(said) and "ringroad" in said[0], f"--version: {said}")
    return "; ".join(text.splitlines()[0] for text in said)


# --- a container ----------------------------------------------------------------------------------------------------


@step
def it_gets_ready_under_the_security_context_of_the_chart(bench):
    return bench.start(*SMALL)


@step
def the_kernel_holds_it_to_that(bench):
    status = dict(
        line.split(":\t", 1) for line in pathlib.Path(f"/proc/{bench.pid()}/status").read_text().splitlines() if ":\t" in line
    )
    uids = set(status["Uid"].split() + status["Gid"].split())
    must("0" not in uids, f"user and group {uids}")
    must(all(int(status[name], 16) == 0 for name in ("CapEff", "CapPrm", "CapBnd")), "it has capabilities")
    must(status["NoNewPrivs"] == "1", "it may gain privileges")
    must(status["Seccomp"] == "2", "no seccomp filter is in force")
    mounts = pathlib.Path(f"/proc/{bench.pid()}/mounts").read_text().splitlines()
    root = next(line.split() for line in mounts if line.split()[1] == "/")
    must("ro" in root[3].split(","), "its root file system can be written")
    limit = bench.memory("memory.max", "memory.limit_in_bytes")
    must(limit == bench.limit << 20, f"memory limit {limit}")
    return f"uid {status['Uid'].split()[0]}, no capabilities, seccomp, no new privileges, read-only, {limit >> 20} MiB"


@step
def a_key_is_set_and_got_through_the_published_port(bench):
    client = Client()
    must(client.ask("set hello 0 0 5\r\nworld\r\n") == "STORED", "set")
    client.send("get hello\r\n")
    answer = [client.line() for _ in range(3)]
    must(answer == ["VALUE hello 0 5", "world", "END"], answer)
    client.close()


@step
def its_health_check_says_that_it_is_well(bench):
    must(page("/healthz") == 200, "/healthz")
    done = bench.podman("healthcheck", "run", bench.id, check=False)
    must(done.returncode == 0, f"exit code {done.returncode}: {done.stdout}{done.stderr}")


def load(*arguments):
    command = [os.environ["RINGROAD"], "bench", "--target", f"127.0.0.1:{PORT}", "--json", "--connections", "1000"]
    return json.loads(run(*command, *arguments).stdout)


def state_under_load(bench):
    state = bench.inspect("container")["State"]
    must(state["Running"] and not state["OOMKilled"], f"it has ended: {state}")
    eventually("/readyz answers 200", lambda: page("/readyz") == 200, 5)
    peak = bench.memory("memory.peak", "memory.max_usage_in_bytes")
    status = pathlib.Path(f"/proc/{bench.pid()}/status").read_text()
    resident = int(re.search(r"VmHWM:\s*(\d+)", status).group(1))
    return f"used at most {peak / 2**20:.1f} MiB of {bench.limit} MiB; resident, with its program: {resident / 1024:.1f} MiB"


def summary(report):
    kinds = ", ".join(
        f"{kind['requests']} x {kind['kind']} with {kind['hits']} hits, p99 {kind['latency_us']['p99'] / 1000:.1f} ms"
        for kind in report["kinds"]
    )
    return f"{kinds}; errors: {errors(report) or 'none'} {report['error_texts'] or ''}"


def errors(report):
    return {kind: count for kind, count in report["errors"].items() if count}


@step
def a_thousand_connections_fit_into_64_mib(bench):
    report = load("--prefill", "--check", "--mix", "90:10", "--value-size", "100=90,1k=9,16k=1", "--duration", "10s")
    text = f"{state_under_load(bench)}; {summary(report)}"
    must(not errors(report) and all(kind["requests"] == kind["hits"] for kind in report["kinds"]), text)
    return text


@step
def it_gets_ready_under_the_memory_limit_of_the_chart(bench):
    return bench.start()


@step
def large_values_on_a_thousand_connections_do_not_kill_it(bench):
    # It may refuse some; it must live, and give nobody what is another's.
    report = load("--prefill", "--mix", "50:50", "--value-size", "64k", "--keys", "500", "--duration", "10s")
    text = f"{state_under_load(bench)}; {summary(report)}"
    must(not set(errors(report)) & {"rubbish", "wrong_key", "connect_failures"}, text)
    return text


@step
def clients_that_do_not_read_do_not_kill_it(bench):
    # Each asks for 8 MiB in all, which is more than the kernel keeps for them: ten times the limit.
    clients = [Client(window=4096) for _ in range(300)]
    value = "x" * 65536
    must(clients[0].ask(f"set large 0 0 65536\r\n{value}\r\n") == "STORED", "set")
    for client in clients:
        try:
            client.send("get large\r\n" * 128)
        except OSError:
            pass  # It may have closed this one.
    # Others are served meanwhile, for a while.
    until, served = time.monotonic() + 5, 0
    while time.monotonic() < until and bench.is_running():
        try:
            other = Client()
            served += other.ask("mg small v\r\n") == "EN"
            other.close()
        except OSError:
            pass
    text = state_under_load(bench)
    for client in clients:
        client.close()
    must(served, "nobody else was served")
    return f"{text}; {served} others were served"


@step
def told_to_end_it_goes_on_accepting_and_ends_in_order(bench):
    if not bench.is_running():
        bench.start()
    idle, under_way = Client(), Client()
    under_way.send("set half 0 0 5\r\nwo")
    connects, over = [], threading.Event()

    def connect():
        while not over.is_set():
            began = time.monotonic()
            try:
                client = Client()
                connects.append((began, client.ask("mn\r\n") == "MN"))
                client.close()
            except OSError:
                connects.append((began, False))
            over.wait(0.02)

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        told = time.monotonic()
        bench.podman("kill", "--signal", "TERM", bench.id)
        unready = eventually("/readyz answers 503", lambda: page("/readyz") == 503, 5)
        sick = bench.podman("healthcheck", "run", bench.id, check=False).returncode
        under_way.send("rld\r\n")
        stored = under_way.line()
        code = bench.podman("wait", bench.id).stdout.strip()
        took = time.monotonic() - told
    finally:
        over.set()
        thread.join()
    must(stored == "STORED", f"a request under way got {stored!r}")
    must(sick != 0, "its health check found nothing")
    must(idle.line() == "", "an idle client was not closed")
    must(code == "0", f"exit code {code}")
    refused = [began - told for began, fine in connects if not fine]
    accepted = min(refused, default=took)
    must(accepted >= 2, f"the first connect failed {accepted:.2f} s after it was told to end")
    must(took < 15, f"it took {took:.2f} s")
    return f"not ready after {unready:.2f} s, accepting for {accepted:.2f} s, ended after {took:.2f} s"


def main(image, base, chart, scratch, *podman):
    bench = Bench(image, base, chart, scratch, *podman)
    # The first one is that the image was built, which run.sh has said.
    passed, failed, skipped = 1, 0, 0
    for function in STEPS:
        name = function.__name__.replace("_", " ")
        try:
            said = function(bench)
        except Skipped as why:
            skipped += 1
            print(f"   skipped: {name}: {why}", flush=True)
        except (Failed, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"   FAILED: {name}: {error!r}", flush=True)
        else:
            passed += 1
            print(f"   ok: {name}" + (f" ({said})" if said else ""), flush=True)
    if failed and bench.id:
        print(bench.podman("logs", "--tail", "30", bench.id, check=False).stderr)
    bench.podman("rm", "--all", "--force", "--time", "0", check=False)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("the image is built", *(function.__name__.replace("_", " ") for function in STEPS), sep="\n")
    else:
        main(*sys.argv[1:])
