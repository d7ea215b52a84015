"""Plain manifests, the sample application and the Dockerfile."""

import pathlib
import shutil
import tempfile
import tomllib

import yaml

from harness import ROOT, VERSIONS, Skip, one, pod_template, ringroad_workload, run, test, validate, workloads
from processes import check

MANIFESTS = ROOT / "deploy/kubernetes"
EXAMPLES = ROOT / "deploy/examples"
OVERLAYS = ["hostport", "service", "hostnetwork", "deployment", "statefulset"]


def load(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def built(directory):
    """What `kubectl apply -k` would send, as far as files alone tell: these here generate and patch nothing of it."""
    documents = []
    for name in load(directory / "kustomization.yaml")[0]["resources"]:
        path = directory / name
        documents += built(path.resolve()) if path.is_dir() else load(path)
    return documents


@test()
def manifests_are_what_the_chart_gives():
    done = run(ROOT / "deploy/generate.sh", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@test()
def a_manifest_that_is_not_is_found():
    with tempfile.TemporaryDirectory() as directory:
        deploy = pathlib.Path(shutil.copytree(ROOT / "deploy", pathlib.Path(directory, "deploy")))
        changed = deploy / "kubernetes/overlays/service/ringroad.yaml"
        changed.write_text(changed.read_text().replace("internalTrafficPolicy: Local", "internalTrafficPolicy: Cluster"))
        done = run(deploy / "generate.sh", "--check")
        assert done.returncode == 1 and "run deploy/generate.sh" in done.stderr, done.stdout + done.stderr


@test()
def every_file_belongs_to_a_kustomization():
    for directory in [MANIFESTS / "base", *sorted((MANIFESTS / "overlays").iterdir()), EXAMPLES]:
        kustomization = load(directory / "kustomization.yaml")[0]
        named = {(directory / name).resolve() for name in kustomization["resources"]}
        generated = {(directory / f) for g in kustomization.get("configMapGenerator", []) for f in g["files"]}
        assert all(path.exists() for path in named | generated)
        files = {f for f in directory.iterdir() if f.suffix == ".yaml" and not f.name.endswith("-values.yaml")}
        assert files - {directory / "kustomization.yaml"} <= named, directory
    assert sorted(d.name for d in (MANIFESTS / "overlays").iterdir()) == sorted(OVERLAYS)


@test(*((f"{overlay}, {version}", overlay, version) for overlay in OVERLAYS for version in VERSIONS))
def an_overlay_is_valid_for(overlay, version):
    for document in built(MANIFESTS / "overlays" / overlay):
        validate(document, version)


@test(*((overlay, overlay) for overlay in OVERLAYS))
def an_overlay_fits_any_namespace_and_is_complete(overlay):
    documents = built(MANIFESTS / "overlays" / overlay)
    assert not any("namespace" in d["metadata"] for d in documents)
    assert not any("helm" in label.lower() for d in documents for label in d["metadata"]["labels"])
    assert one(documents, "StatefulSet", "mycache-memcached")
    text = one(documents, "ConfigMap")["data"]["ringroad.toml"]
    assert tomllib.loads(text)["pools"]["cache"]["discover"]["service"] == one(documents, "Service", "mycache-memcached")["metadata"]["name"]
    done = check(text)
    assert done.returncode == 0, done.stdout + done.stderr
    spec = pod_template(ringroad_workload(documents))["spec"]
    assert "lifecycle" not in spec["containers"][0]


@test(*((name, directory) for name, directory in [(o, MANIFESTS / "overlays" / o) for o in OVERLAYS] + [("examples", EXAMPLES)]))
def kubectl_builds(directory):
    if not shutil.which("kubectl"):
        raise Skip("there is no kubectl")
    done = run("kubectl", "kustomize", directory)
    assert done.returncode == 0, done.stderr
    for document in yaml.safe_load_all(done.stdout):
        validate(document, VERSIONS[-1])


@test(*((version, version) for version in VERSIONS))
def examples_are_valid_for(version):
    documents = built(EXAMPLES)
    for document in documents:
        validate(document, version)
    application = one(documents, "Deployment", "sample-application")
    assert application["spec"]["replicas"] == 9
    variables = pod_template(application)["spec"]["containers"][0]["env"]
    fields = {v["name"]: v["valueFrom"]["fieldRef"]["fieldPath"] for v in variables}
    assert fields == {"NODE_NAME": "spec.nodeName", "HOST_IP": "status.hostIP"}
    for workload in workloads(documents):
        for container in pod_template(workload)["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


@test()
def dockerfile_is_well_written():
    done = run("hadolint", ROOT / "Dockerfile")
    assert done.returncode == 0, done.stdout


@test()
def the_linter_finds_what_is_badly_written():
    done = run("hadolint", "-", input="FROM debian:latest\nRUN cd /tmp\nRUN sudo true\n")
    assert done.returncode != 0 and "DL3007" in done.stdout and "DL3004" in done.stdout, done.stdout


@test()
def dockerfile_keeps_its_promises():
    text = (ROOT / "Dockerfile").read_text()
    for argument in ("RUST_IMAGE", "BASE_IMAGE"):
        assert f"ARG {argument}=" in text and f"FROM {'--platform=$BUILDPLATFORM ' if argument == 'RUST_IMAGE' else ''}${{{argument}}}" in text
    user = next(line for line in text.splitlines() if line.startswith("USER ")).removeprefix("USER ")
    security = pod_template(ringroad_workload(built(MANIFESTS / "overlays/hostport")))["spec"]["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    chart = load(ROOT / "deploy/helm/ringroad/Chart.yaml")[0]
    assert chart["version"] == chart["appVersion"] == version and f"ARG VERSION={version}" in text
    # What cargo reads before it builds, and what is compiled in, reaches the build.
    taken = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"Cargo.toml", "Cargo.lock", "src", "benches", "README.md", "LICENSE"} <= taken
