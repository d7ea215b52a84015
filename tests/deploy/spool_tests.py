"""The spool in the chart: its volume is where ringroad writes, may be written by it, and its alerts ask for metrics that exist."""

import os
import pathlib
import re
import stat
import tempfile
import tomllib
import urllib.request

from chart_tests import CASES
from harness import Skip, configuration, one, pod_template, render, ringroad_workload, run, test
from processes import free_port, ringroad

SPOOLS = [name for name in CASES if name.startswith("spool")]
ON_NODE = "spool on the node"


def pod(name):
    spec = pod_template(ringroad_workload(render(CASES[name])))["spec"]
    volumes = [v for v in spec["volumes"] if v["name"] == "spool"]
    assert len(volumes) == 1
    mounts = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "spool"]
    assert len(mounts) == 1 and not mounts[0].get("readOnly")
    return spec, volumes[0], mounts[0]["mountPath"]


@test(*((name, name) for name in SPOOLS))
def the_volume_is_where_ringroad_writes(name):
    spec, _, path = pod(name)
    if "mcrouter" in name:
        assert spec["containers"][0]["args"][-1] == f"--async-dir={path}"
    else:
        config = tomllib.loads(configuration(render(CASES[name]))[1])
        assert config["spool"]["dir"] == path and config["pools"]["cache"]["spool"] is True


@test()
def the_values_of_the_spool_arrive():
    usual = tomllib.loads(configuration(render(CASES["spool"]))[1])["spool"]
    assert (usual["fsync"], usual["fsync_interval"]) == ("interval", "1s")
    config = tomllib.loads(configuration(render(CASES[ON_NODE]))[1])
    assert config["spool"] == {
        "dir": "/var/spool/ringroad",
        "format": "v2",
        "fsync": "each",
        "max_bytes": "256MiB",
        "replay": False,
        "replay_rate": 10000,
        "unknown_servers": "drop",
    }
    assert config["pools"]["cache"]["timeout"] == "250ms" and "discover" in config["pools"]["cache"]


@test()
def without_a_spool_there_is_none():
    documents = render()
    assert "spool" not in configuration(documents)[1]
    spec = pod_template(ringroad_workload(documents))["spec"]
    assert "initContainers" not in spec and {v["name"] for v in spec["volumes"]} == {"config", "run"}
    assert "spool" not in tomllib.loads(configuration(render({"spool": {"enabled": True}, "settings": {"pools": {"a": {"servers": ["10.0.0.1:1"]}}}}))[1])["pools"]["a"]


@test()
def a_pod_is_not_evicted_for_a_spool_that_keeps_its_bound():
    _, volume, _ = pod("spool")
    limit = volume["emptyDir"]["sizeLimit"]
    assert limit.endswith("Mi") and int(limit[:-2]) > 1024 * 5 / 4


@test()
def a_directory_on_the_node_is_of_one_release_alone():
    assert pod(ON_NODE)[1]["hostPath"] == {"path": "/var/lib/ringroad/default-mycache-ringroad", "type": "DirectoryOrCreate"}
    other = pod_template(ringroad_workload(render(CASES[ON_NODE], release="other", namespace="elsewhere")))["spec"]
    assert other["volumes"][-1]["hostPath"]["path"] == "/var/lib/ringroad/elsewhere-other-ringroad"


@test()
def the_user_may_write_to_a_directory_that_was_made_for_root():
    """Runs what the container before ringroad runs."""
    spec, _, path = pod(ON_NODE)
    prepare = spec["initContainers"][0]
    security = prepare["securityContext"]
    assert security["runAsUser"] == 0 and security["runAsNonRoot"] is False and security["readOnlyRootFilesystem"] is True
    assert prepare["volumeMounts"] == [{"name": "spool", "mountPath": path}]
    if os.geteuid() != 0:
        raise Skip("only root can give a directory away")
    with tempfile.TemporaryDirectory() as directory:
        here = pathlib.Path(directory, "spool")
        (here / "20261120T05-1795150800").mkdir(parents=True)
        script = prepare["args"][0].replace(path, str(here))
        for _ in range(2):  # The next pod finds what the last one left.
            done = run(*prepare["command"], script)
            assert done.returncode == 0, done.stderr
        for each in (here, *here.iterdir()):
            found = each.stat()
            assert (found.st_uid, found.st_gid) == (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"])
        assert stat.S_IMODE(here.stat().st_mode) == 0o700


@test()
def nodes_may_have_the_directory_ready():
    values = CASES[ON_NODE] | {"spool": CASES[ON_NODE]["spool"] | {"hostPath": "/data/spool", "prepare": {"enabled": False}}}
    spec = pod_template(ringroad_workload(render(values)))["spec"]
    assert "initContainers" not in spec and spec["volumes"][-1]["hostPath"]["path"] == "/data/spool"


@test()
def alerts_ask_for_metrics_that_there_are():
    def rules(values):
        rule = one(render(values), "PrometheusRule", "mycache-ringroad")
        assert rule["metadata"]["labels"]["release"] == "prometheus"
        return {r["alert"]: r for group in rule["spec"]["groups"] for r in group["rules"]}

    by_hand = rules(CASES[ON_NODE])
    values = CASES[ON_NODE] | {"spool": {"enabled": True}}
    found = rules(values)
    # Where nobody delivers, that nothing is delivered is nothing to be woken for.
    assert set(found) - set(by_hand) == {"RingroadSpoolDoesNotDrain"}
    assert {"RingroadSpoolFails", "RingroadSpoolAtBound", "RingroadSpoolDrops"} <= set(found)
    port, admin = free_port(), free_port()
    with tempfile.TemporaryDirectory() as directory:
        text = configuration(render(values))[1]
        text = text.replace('":5000"', f'"127.0.0.1:{port}"').replace('":5001"', f'"127.0.0.1:{admin}"')
        text = text.replace("/var/spool/ringroad", directory)
        with ringroad(text, port):
            page = urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics").read().decode()
    samples = set(re.findall(r"^(\w+)", page, re.MULTILINE))
    for rule in found.values():
        asked = set(re.findall(r"ringroad_\w+(?=\{)", rule["expr"]))
        assert asked and asked <= samples, (rule["alert"], asked - samples)
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert label in ("pod", "reason")
