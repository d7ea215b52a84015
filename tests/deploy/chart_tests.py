"""The chart as it renders: valid for every Kubernetes, safe, and consistent in itself."""

import copy
import json
import re
import tempfile
import pathlib
import tomllib

import kubernetes_validate
import yaml
from pymemcache.client.base import Client

from api_server import api_server
from harness import (
    CHART,
    VERSIONS,
    configuration,
    helm,
    installed,
    one,
    pod_template,
    render,
    ringroad_workload,
    run,
    test,
    validate,
    workloads,
)
from processes import RINGROAD, check, memcached

MODES = ["hostPort", "service", "hostNetwork", "deployment", "statefulset"]
ON_NODES = MODES[:3]

OWN_CONFIG = """\
listen = [":5000"]
drain = "13s"
shutdown_delay = "3s"
[admin]
listen = ":5001"
[pools.cache]
servers = ["127.0.0.1:11211"]
"""
# As the chart stable/mcrouter generated it, with the comma behind the last server.
MCROUTER = """\
{
  "pools": {
    "A": {
      "servers": [
        "mycache-memcached-0.mycache-memcached.default.svc.cluster.local:11211",
        "mycache-memcached-1.mycache-memcached.default.svc.cluster.local:11211",
        "mycache-memcached-2.mycache-memcached.default.svc.cluster.local:11211",
      ]
    }
  },
  "route": "PoolRoute|A"
}
"""
EVERYTHING = {
    "port": 6000,
    "adminPort": 6001,
    "image": {"repository": "example/ringroad", "digest": "sha256:" + "0123456789abcdef" * 4},
    "imagePullSecrets": [{"name": "secret"}],
    "nameOverride": "router",
    "clusterDomain": "example.internal",
    "settings": {
        "pools": {
            "cache": {
                "distribution": "ch3",
                "timeout": "250ms",
                "warm_scaling": True,
                "membership": {"max_loss": 0.25, "hold": "5m"},
                "tko": {"after": 5},
            },
            "odd.name": {"servers": [{"name": "a b".replace(" ", "-"), "addr": "10.0.0.1:11211", "weight": 2}, "10.0.0.2:11211"]},
        },
        "route": {"type": "prefix", "default": "cache", "prefixes": {'quote"d:': "odd.name", "é:": "cache"}},
        "log": {"level": "debug"},
    },
    "extraListen": ["127.0.0.1:6002", {"unix": "/run/ringroad/clients.sock", "mode": "0777"}],
    "priorityClassName": "system-node-critical",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "podLabels": {"team": "cache"},
    "podAnnotations": {"note": "one"},
    "extraArgs": ["--log-level=debug"],
    "extraEnv": [{"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "serviceAccountName": "cache",
    "service": {"annotations": {"note": "two"}},
    "resources": {"limits": {"memory": "1Gi", "cpu": "2"}},
    "workers": 4,
    "memcached": {
        "replicas": 5,
        "antiAffinity": "required",
        "exporter": {"enabled": True},
        "extraArgs": ["--extended=modern"],
        "tolerations": [{"operator": "Exists"}],
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
    },
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"enabled": True, "clients": [{"namespaceSelector": {}}], "monitoring": [{"podSelector": {}}]},
}
CASES = {mode: {"mode": mode} for mode in MODES} | {
    "everything": EVERYTHING,
    "everything, central": EVERYTHING | {"mode": "deployment", "replicas": 2},
    "existing Service": {"memcached": {"enabled": False, "existingService": "cache", "existingPortName": "mc"}},
    "existing Service elsewhere": {"memcached": {"enabled": False, "existingService": "cache.other.svc.cluster.local"}},
    "listed servers": {"memcached": {"enabled": False}, "settings": {"pools": {"a": {"servers": ["10.0.0.1:11211"]}}}},
    "own configuration": {"config": OWN_CONFIG},
    "mcrouter": {"mcrouterConfig": MCROUTER, "mcrouterArgs": ["--num-proxies=2"]},
    "two nodes at a time": {"updateStrategy": {"maxUnavailable": "20%"}},
    "service, one after the other": {"mode": "service", "updateStrategy": {"maxSurge": 0}},
    "service, some at a time": {"mode": "service", "updateStrategy": {"maxUnavailable": 2}},
    "no protection": {"podDisruptionBudget": {"enabled": False}, "memcached": {"podDisruptionBudget": {"enabled": False}}},
    "no limits": {"resources": {"limits": {"memory": None}}, "memcached": {"resources": {"limits": {"memory": None}}}},
    "spool": {"mode": "service", "spool": {"enabled": True}},
    "spool on the node": {
        "spool": {"enabled": True, "volume": "hostPath", "size": "256Mi", "fsync": "each", "replay": False, "unknownServers": "drop"},
        "settings": {"pools": {"cache": {"timeout": "250ms"}}, "spool": {"format": "v2"}},
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "spool of an own configuration": {
        "config": OWN_CONFIG + 'spool = true\n[spool]\ndir = "/spool"\n',
        "spool": {"enabled": True, "dir": "/spool"},
    },
    "spool of mcrouter": {"mcrouterConfig": MCROUTER, "spool": {"enabled": True}},
    "no waiting": {"preStopSleepSeconds": 0, "shutdownDelaySeconds": 0, "drainSeconds": 1, "rollOnConfigChange": False},
}


@test()
def lint_is_strict():
    done = helm("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


@test(*((f"{name}, {version}", name, version) for name in CASES for version in VERSIONS))
def is_valid_for(name, version):
    documents = render(CASES[name], f"{version}.0")
    for document in documents:
        validate(document, version)
    names = [(d["kind"], d["metadata"]["name"]) for d in documents]
    assert len(names) == len(set(names)), names


@test(*((version, version) for version in VERSIONS))
def the_validation_finds_a_typing_error(version):
    daemonset = copy.deepcopy(ringroad_workload(render(version=f"{version}.0")))
    validate(daemonset, version)
    rolling = daemonset["spec"]["updateStrategy"]["rollingUpdate"]
    rolling["maxSurg"] = rolling.pop("maxSurge")
    try:
        validate(daemonset, version)
    except kubernetes_validate.ValidationError as error:
        assert "maxSurg" in str(error)
    else:
        raise AssertionError("maxSurg was taken")


@test(*((name, name) for name in CASES))
def pods_keep_to_the_restricted_profile(name):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, as an admission controller has it; but for the
    hostPort and the host's network, which are what these modes are."""
    mode = CASES[name].get("mode", "hostPort")
    for workload in workloads(render(CASES[name])):
        spec = pod_template(workload)["spec"]
        is_router = workload["metadata"]["name"].endswith(("-ringroad", "-router"))
        assert spec["automountServiceAccountToken"] is False
        assert not spec.get("hostPID") and not spec.get("hostIPC")
        assert bool(spec.get("hostNetwork")) == (is_router and mode == "hostNetwork")
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        kinds = {"configMap", "emptyDir"} | ({"hostPath"} if is_router and "on the node" in name else set())
        assert all(set(v) - {"name"} <= kinds for v in spec.get("volumes", []))
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            host_ports = [p for p in container.get("ports", []) if "hostPort" in p]
            assert len(host_ports) == (1 if is_router and mode == "hostPort" else 0)
            assert container["resources"]["requests"]


@test(*((name, name) for name in CASES))
def objects_refer_to_each_other(name):
    documents = render(CASES[name])
    pods = [pod_template(w) for w in workloads(documents)]
    for workload in workloads(documents):
        if workload["kind"] != "Pod":
            selector = workload["spec"]["selector"]["matchLabels"]
            assert selector.items() <= pod_template(workload)["metadata"]["labels"].items()
        for volume in pod_template(workload)["spec"].get("volumes", []):
            if "configMap" in volume:
                one(documents, "ConfigMap", volume["configMap"]["name"])
        if workload["kind"] == "StatefulSet":
            assert one(documents, "Service", workload["spec"]["serviceName"])["spec"]["clusterIP"] == "None"
    selecting = [d for d in documents if d["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor")]
    for document in selecting:
        spec = document["spec"]
        selector = spec["selector"] if "selector" in spec else spec["podSelector"]
        selector = selector.get("matchLabels", selector)
        # Exactly one set of pods: the testers' pods must not get ringroad's clients, nor the other way round.
        chosen = [p for p in pods if selector.items() <= p["metadata"]["labels"].items()]
        assert len(chosen) == 1, f"{document['kind']} {document['metadata']['name']} selects {len(chosen)} kinds of pods"
        ports = {p.get("name"): p["containerPort"] for c in chosen[0]["spec"]["containers"] for p in c.get("ports", [])}
        for port in spec.get("ports", []):
            if chosen[0]["spec"].get("hostNetwork") or "test" in document["metadata"]["name"]:
                continue
            target = port["targetPort"]
            assert target in ports or target in ports.values(), f"{target} is no port of the pod"
        for endpoint in spec.get("podMetricsEndpoints", []):
            assert endpoint["port"] in ports


@test(*((name, name) for name in CASES if not CASES[name].get("mcrouterConfig")))
def ringroad_takes_the_configuration(name):
    _, text = configuration(render(CASES[name]))
    done = check(text)
    assert done.returncode == 0, text + done.stdout + done.stderr


@test()
def ringroad_takes_the_mcrouter_configuration_and_arguments():
    documents = render(CASES["mcrouter"])
    container = pod_template(ringroad_workload(documents))["spec"]["containers"][0]
    assert container["command"] == ["mcrouter"]
    name, text = configuration(documents)
    assert text == MCROUTER.rstrip("\n") or text == MCROUTER
    with tempfile.TemporaryDirectory() as directory:
        link = pathlib.Path(directory, "mcrouter")
        link.symlink_to(RINGROAD)
        file = pathlib.Path(directory, name)
        file.write_text(text)
        arguments = [a.replace("/etc/ringroad/config.json", str(file)) for a in container["args"]]
        done = run(link, "--validate-config", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr


@test(*((name, name, version) for name in CASES for version in ("1.29.0", "1.34.0") if not CASES[name].get("mcrouterConfig")))
def the_times_of_the_end_add_up(name, version):
    """The sleep before SIGTERM, the wait and the finishing after it: all of it, and some seconds, before the kill."""
    values = CASES[name]
    documents = render(values, version)
    spec = pod_template(ringroad_workload(documents))["spec"]
    config = tomllib.loads(configuration(documents)[1])
    asleep = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    waits = values.get("preStopSleepSeconds", 2)
    assert asleep == (waits if version >= "1.30" else 0)
    # The latter includes the former.
    delay, drain = (int(config[key].removesuffix("s")) for key in ("shutdown_delay", "drain"))
    if not values.get("config"):  # The wait of an own file is what it says.
        assert asleep + delay == waits + values.get("shutdownDelaySeconds", 3)
    assert drain - delay == values.get("drainSeconds", 10)
    assert spec["terminationGracePeriodSeconds"] >= asleep + drain + 5


@test(*((mode, mode) for mode in MODES))
def a_change_of_configuration_rolls_the_pods_and_nothing_else(mode):
    def template(values):
        return pod_template(ringroad_workload(render({"mode": mode} | values)))

    before, after = template({}), template({"settings": {"log": {"level": "debug"}}})
    assert before["metadata"].pop("annotations") != after["metadata"].pop("annotations")
    assert before == after
    kept = {"rollOnConfigChange": False}
    assert template(kept) == template(kept | {"settings": {"log": {"level": "debug"}}})


@test()
def a_new_version_of_the_chart_restarts_no_memcached():
    documents = render()
    template = pod_template(one(documents, "StatefulSet"))
    assert not any("chart" in label for label in template["metadata"]["labels"])


@test(*((mode, mode) for mode in MODES))
def updates_go_as_the_mode_allows(mode):
    workload = ringroad_workload(render({"mode": mode}))
    strategy = workload["spec"].get("updateStrategy") or workload["spec"]["strategy"]
    expected = {
        "hostPort": {"maxUnavailable": 1, "maxSurge": 0},
        "statefulset": None,
    }.get(mode, {"maxUnavailable": 0, "maxSurge": 1})
    assert strategy.get("rollingUpdate") == expected
    assert workload["spec"]["minReadySeconds"] == 2
    container = pod_template(workload)["spec"]["containers"][0]
    # Declared ports of the host's network would be taken twice while two pods stand side by side.
    assert ("ports" in container) == (mode != "hostNetwork")
    service = one(render({"mode": mode}), "Service", "mycache-ringroad")
    assert service["spec"].get("internalTrafficPolicy") == ("Local" if mode in ON_NODES else None)


@test(
    ("one after the other", "service, one after the other", 1, 0),
    ("some at a time", "service, some at a time", 2, 0),
    ("a share on a hostPort", "two nodes at a time", "20%", 0),
    ("all given", {"mode": "deployment", "updateStrategy": {"maxUnavailable": 1, "maxSurge": "50%"}}, 1, "50%"),
)
def updates_go_as_they_are_told(values, unavailable, surge):
    workload = ringroad_workload(render(CASES[values] if isinstance(values, str) else values))
    strategy = workload["spec"].get("updateStrategy") or workload["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": unavailable, "maxSurge": surge}


@test()
def names_are_those_of_the_chart_stable_mcrouter():
    documents = render()
    service = one(documents, "Service", "mycache-memcached")
    assert service["spec"]["clusterIP"] == "None" and not service["spec"].get("publishNotReadyAddresses")
    # SRV records tell a pod's name; there are none for ports without a name.
    assert [p["name"] for p in service["spec"]["ports"]] == ["memcache"]
    assert one(documents, "StatefulSet")["metadata"]["name"] == "mycache-memcached"
    assert tomllib.loads(configuration(documents)[1])["pools"]["cache"]["discover"] == {
        "service": "mycache-memcached.default.svc.cluster.local",
        "port_name": "memcache",
    }
    one(render({"nameOverride": "mcrouter"}), "DaemonSet", "mycache-mcrouter")


@test()
def the_schema_and_the_values_name_the_same():
    def compare(schema, values, path):
        schema = definitions[schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
        if not isinstance(values, dict) or "properties" not in schema:
            return
        named = {name for name, entry in schema["properties"].items() if "stable/mcrouter" not in entry.get("description", "")}
        # Kubernetes' own, which the chart does not choose; Helm's own, for charts that hold this one.
        assert named - {"claims", "global", "limits", "requests"} <= values.keys() <= named, path
        for name, value in values.items():
            compare(schema["properties"][name], value, f"{path}.{name}")

    schema = json.loads((CHART / "values.schema.json").read_text())
    definitions = schema["definitions"]
    compare(schema, yaml.safe_load((CHART / "values.yaml").read_text()), "values")


@test(*((name, name) for name in ("hostPort", "everything")))
def memcached_takes_its_arguments(name):
    container = pod_template(one(render(CASES[name]), "StatefulSet", "mycache-memcached"))["spec"]["containers"][0]
    process = memcached()
    arguments = [a.replace("11211", str(process.port)) for a in container["args"]]
    process.command = [container["command"][0], "--listen=127.0.0.1", *process.command[9:], *arguments]
    with process:
        settings = Client(("127.0.0.1", process.port)).stats("settings")
    assert (settings[b"maxbytes"], settings[b"maxconns"], settings[b"num_threads"]) == (64 << 20, 4096, 2), settings
    assert int(settings[b"item_size_max"]) == 1 << 20


@test()
def settings_arrive_as_they_were_written():
    config = tomllib.loads(configuration(render(EVERYTHING))[1])
    ours, theirs = config, EVERYTHING["settings"]
    assert ours["route"] == theirs["route"] and ours["log"] == theirs["log"]
    assert ours["pools"]["odd.name"] == theirs["pools"]["odd.name"]
    assert type(ours["pools"]["odd.name"]["servers"][0]["weight"]) is int
    assert theirs["pools"]["cache"].items() <= ours["pools"]["cache"].items()
    assert ours["pools"]["cache"]["discover"]["service"] == "mycache-memcached.default.svc.example.internal"
    assert ours["listen"] == [":6000", *EVERYTHING["extraListen"]]
    assert ours["limits"]["worker_bytes"] == "131072KiB"


@test(*((mode, mode) for mode in MODES))
def the_notes_name_what_is_there(mode):
    with api_server("1.34.0") as server:
        done = helm(
            *("install", "mycache", CHART, "--dry-run=client", "--disable-openapi-validation"),
            *("--namespace", "cache", "--kube-apiserver", server, "--set", f"mode={mode}"),
        )
    assert done.returncode == 0, done.stderr
    notes = done.stdout.split("\nNOTES:\n")[1]
    documents = installed(render({"mode": mode}, namespace="cache"))
    there = {f"{d['kind'].lower()}/{d['metadata']['name']}" for d in documents}
    commands = [line.strip() for line in notes.splitlines() if re.match(r" +(kubectl|helm) ", line)]
    assert len(commands) >= 5
    for command in commands:
        assert " --namespace cache " in command, command
        for named in re.findall(r"\b(?:daemonset|deployment|statefulset)/\S+", command):
            assert named in there, command
        if " -- ringroad " in command:
            help_text = run(RINGROAD, command.split(" -- ringroad ")[1].split()[0], "--help")
            assert help_text.returncode == 0, command
