"""Values that the chart must not take, and what it says of them: a sentence that tells what to do instead."""

from chart_tests import MCROUTER, OWN_CONFIG
from harness import CHART, helm, refusal, test

# Name, values, and a part of what is said.
REFUSED = [
    ("surge on a hostPort", {"updateStrategy": {"maxSurge": 1}}, "updateStrategy.maxSurge does not go with mode hostPort"),
    ("surge on a hostPort, as a share", {"updateStrategy": {"maxSurge": "10%"}}, "choose mode service or hostNetwork"),
    ("a hostPort without a gap", {"updateStrategy": {"maxUnavailable": 0}}, "the update would never begin"),
    ("neither surge nor gap", {"mode": "service", "updateStrategy": {"maxSurge": 0, "maxUnavailable": 0}}, "can't both be 0"),
    ("surge and gap", {"mode": "service", "updateStrategy": {"maxUnavailable": 1, "maxSurge": 1}}, "one of them must be 0"),
    ("surge of a StatefulSet", {"mode": "statefulset", "updateStrategy": {"maxSurge": 1}}, "never beside it"),
    ("replicas on nodes", {"replicas": 3}, "there is one ringroad on each node"),
    ("one port for two", {"adminPort": 5000}, "port and adminPort are both 5000"),
    ("policy in the nodes' network", {"mode": "hostNetwork", "networkPolicy": {"enabled": True}}, "such pods have the node's address"),
    ("monitor in the nodes' network", {"mode": "hostNetwork", "podMonitor": {"enabled": True}}, "a socket inside the pod"),
    ("mcrouter in the nodes' network", {"mode": "hostNetwork", "mcrouterConfig": MCROUTER}, "can't share a port"),
    ("monitor of mcrouter", {"podMonitor": {"enabled": True}, "mcrouterConfig": MCROUTER}, "it has no admin port"),
    ("two configurations", {"config": OWN_CONFIG, "settings": {"log": {"level": "debug"}}}, "settings and config exclude each other"),
    ("two others", {"config": OWN_CONFIG, "mcrouterConfig": MCROUTER}, "config and mcrouterConfig exclude each other"),
    ("listeners beside a configuration", {"config": OWN_CONFIG, "extraListen": [":7000"]}, "extraListen goes with settings only"),
    ("mcrouter's arguments alone", {"mcrouterArgs": ["-v"]}, "mcrouterArgs goes with mcrouterConfig only"),
    ("ringroad's arguments for mcrouter", {"mcrouterConfig": MCROUTER, "extraArgs": ["-v"]}, "there is mcrouterArgs"),
    ("two memcacheds", {"memcached": {"existingService": "cache"}}, "say memcached.enabled=false"),
    ("no memcached", {"memcached": {"enabled": False}}, "there is no memcached"),
    ("a port name of nothing", {"memcached": {"existingPortName": "mc"}}, "without memcached.existingService"),
    ("listen as a setting", {"settings": {"listen": [":1"]}}, "settings.listen can't be set"),
    ("drain as a setting", {"settings": {"drain": "1s"}}, "it follows from the value drainSeconds"),
    ("admin as a setting", {"settings": {"admin": {"listen": ":1"}}}, "it follows from the value adminPort"),
    ("a configuration for another port", {"config": OWN_CONFIG, "port": 6000}, "config does not listen on port 6000"),
    ("a configuration without admin port", {"config": OWN_CONFIG.replace(":5001", ":9")}, "config does not listen on port 5001"),
    ("a configuration without drain", {"config": OWN_CONFIG.replace("drain", "#")}, "config does not say drain in whole seconds"),
    ("a drain in no seconds", {"config": OWN_CONFIG.replace("13s", "1m")}, "config does not say drain in whole seconds"),
    ("too little time for an own configuration", {"config": OWN_CONFIG, "terminationGracePeriodSeconds": 15}, "add up to 15"),
    ("a configuration for a port of its own", {"config": OWN_CONFIG, "mode": "hostNetwork"}, "reuse_port = true"),
    ("too little time to end", {"terminationGracePeriodSeconds": 15}, "add up to 15"),
    ("too much for the memory", {"settings": {"limits": {"worker_bytes": "128MiB"}}}, "leave a quarter of the limit free"),
    ("no memory", {"resources": {"limits": {"memory": "8Mi"}}}, "is too little for 2 workers"),
    ("memcached larger than its pod", {"memcached": {"maxMemory": 120}}, "needs at least 16 MiB more"),
    ("a long name", {"fullnameOverride": "x" * 60}, "is too long for a name"),
    ("one name for two", {"fullnameOverride": "mycache-memcached"}, "would both be called mycache-memcached"),
    ("controller, of the old chart", {"controller": "daemonset"}, "controller is a value of the chart stable/mcrouter; here it is mode"),
    ("daemonset.hostPort, of the old chart", {"daemonset": {"hostPort": 5000}}, "here it is port"),
    ("replicaCount, of the old chart", {"memcached": {"replicaCount": 3}}, "here it is memcached.replicas"),
    ("a spool on a node for pods that move", {"mode": "deployment", "spool": {"enabled": True, "volume": "hostPath"}}, "may be on another node"),
    ("a directory on the node without its volume", {"spool": {"enabled": True, "hostPath": "/spool"}}, "spool.volume=hostPath are not"),
    ("a spool for nobody", {"podSecurityContext": {"runAsUser": None}, "spool": {"enabled": True, "volume": "hostPath"}}, "whom is the directory to be given"),
    ("a spool that is not in the configuration", {"config": OWN_CONFIG, "spool": {"enabled": True}}, "config does not name that directory"),
    ("two spools of mcrouter", {"mcrouterConfig": MCROUTER, "mcrouterArgs": ["--async-dir=/x"], "spool": {"enabled": True}}, "the directory is the value spool.dir"),
    ("a spool somewhere else", {"settings": {"spool": {"dir": "/x"}}, "spool": {"enabled": True}}, "it follows from the value spool.dir"),
    ("alerts about nothing", {"prometheusRule": {"enabled": True}}, "say spool.enabled=true"),
    ("alerts without metrics", {"prometheusRule": {"enabled": True}, "mcrouterConfig": MCROUTER}, "there are no metrics"),
    # By the schema.
    ("an unknown mode", {"mode": "daemonset"}, "mode: mode must be one of the following"),
    ("an unknown value", {"memcache": {}}, "Additional property memcache is not allowed"),
    ("an unknown value further down", {"memcached": {"replica": 3}}, "Additional property replica is not allowed"),
    ("a port for root", {"port": 80}, "port: Must be greater than or equal to 1024"),
    ("no server", {"memcached": {"replicas": 0}}, "memcached.replicas: Must be greater than or equal to 1"),
    ("text for a number", {"workers": "auto"}, "workers: Invalid type"),
    ("a spool of no unit", {"spool": {"size": "1000"}}, "spool.size: Does not match pattern"),
    ("no digest", {"image": {"digest": "sha256:123"}}, "image.digest: Does not match pattern"),
]


@test(*REFUSED)
def is_refused_with_a_sentence(values, sentence):
    said = refusal(values)
    assert sentence in said, said


@test()
def old_kubernetes_is_refused():
    done = helm("template", "mycache", CHART, "--kube-version", "1.24.0")
    assert done.returncode != 0 and "incompatible with Kubernetes v1.24.0" in done.stderr, done.stderr


@test()
def a_long_release_name_is_refused():
    done = helm("template", "m" * 50, CHART)
    assert done.returncode != 0 and "shorter release name" in done.stderr, done.stderr
