"""What the tests share: their list, Helm, and the validation against Kubernetes' schemas."""

import functools
import pathlib
import re
import subprocess
import tempfile

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/ringroad"
VERSIONS = ["1.25", "1.27", "1.31", "1.34", "1.37"]
# Kinds that are not Kubernetes' own: there are no schemas of them.
FOREIGN = {"PodMonitor", "PrometheusRule"}

tests = []


class Skip(Exception):
    """This machine can't do it; says why."""


def test(*cases):
    """Makes a test of a function, or one of each case: its name, and the arguments."""

    def add(function):
        if not cases:
            tests.append((function.__name__, function))
        for name, *arguments in cases:
            tests.append((f"{function.__name__}[{name}]", functools.partial(function, *arguments)))
        return function

    return add


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **options)


def helm(*arguments, values=None):
    """The finished process. `values` are a Python object, as a values file has them."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        if values:
            yaml.safe_dump(values, file)
            file.flush()
            arguments = (*arguments, "--values", file.name)
        return run("helm", *arguments)


def render(values=None, version="1.34.0", release="mycache", namespace="default", extra=()):
    """All objects of the chart, its tests included."""
    done = helm("template", release, CHART, "--namespace", namespace, "--kube-version", version, *extra, values=values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def refusal(values):
    """What Helm says of values that it must not take."""
    done = helm("template", "mycache", CHART, values=values)
    assert done.returncode != 0, f"was accepted: {values}"
    return re.sub(r"\s+", " ", done.stderr)


def validate(document, version, strict=True):
    """Raises what kubernetes_validate does. A kind that it does not know is refused, unless it is foreign."""
    if document["kind"] not in FOREIGN:
        kubernetes_validate.validate(document, version, strict=strict)


def one(documents, kind, name=None):
    found = [d for d in documents if d["kind"] == kind and name in (None, d["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of kind {kind} called {name}"
    return found[0]


def installed(documents):
    """Without the hooks."""
    return [d for d in documents if "helm.sh/hook" not in d["metadata"].get("annotations", {})]


def workloads(documents):
    return [d for d in documents if d["kind"] in ("DaemonSet", "Deployment", "StatefulSet", "Job", "Pod")]


def pod_template(workload):
    """Of a workload; of a Pod itself."""
    return workload if workload["kind"] == "Pod" else workload["spec"]["template"]


def ringroad_workload(documents):
    name = {"app.kubernetes.io/name": "ringroad"}.items()
    found = [d for d in workloads(installed(documents)) if name <= pod_template(d)["metadata"]["labels"].items()]
    assert len(found) == 1
    return found[0]


def configuration(documents):
    """The name and the text of the configuration file."""
    return next(iter(one(installed(documents), "ConfigMap")["data"].items()))
