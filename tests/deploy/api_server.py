"""As much of a Kubernetes API server as Helm asks before it prints what an installation would be: its version and the
kinds it knows. Nothing can be created in it. Helm shows a chart's notes in no other way.
"""

import contextlib
import http.server
import json
import threading

KINDS = {
    "v1": ["ConfigMap", "Service", "Pod"],
    "apps/v1": ["DaemonSet", "StatefulSet", "Deployment"],
    "policy/v1": ["PodDisruptionBudget"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
    "monitoring.coreos.com/v1": ["PodMonitor", "PrometheusRule"],
}


def plural(kind):
    return kind.lower().removesuffix("y") + ("ies" if kind.endswith("y") else "s")


def pages(version):
    groups = []
    for group_version in KINDS:
        if "/" in group_version:
            group, name = group_version.split("/")
            entry = {"groupVersion": group_version, "version": name}
            groups.append({"name": group, "versions": [entry], "preferredVersion": entry})
    found = {
        "/version": {"major": "1", "minor": version.split(".")[1], "gitVersion": f"v{version}"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    }
    for group_version, kinds in KINDS.items():
        resources = [
            {"name": plural(kind), "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": ["get"]}
            for kind in kinds
        ]
        path = f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"
        found[path] = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}
    return found


@contextlib.contextmanager
def api_server(version):
    """The address of one that runs until the block is left."""
    answers = pages(version)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers.get(self.path.split("?")[0])
            status = 200 if answer else 404
            body = json.dumps(answer or {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
