#!/usr/bin/env bash
# Writes deploy/kubernetes from the chart.
#
#   deploy/generate.sh                   into deploy/kubernetes
#   deploy/generate.sh --check           writes nothing; fails if deploy/kubernetes is not what the chart gives
#
# Needs helm 3 on the PATH (or HELM). The names are those of a release "mycache". The manifests fit any namespace and any
# Kubernetes from 1.25 on: servers are found by a short name, and the wait before the end is ringroad's own.
set -euo pipefail
deploy=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
helm=${HELM:-helm}
release=mycache
overlays=(hostport:hostPort service:service hostnetwork:hostNetwork deployment:deployment statefulset:statefulset)

# chart TEMPLATE VALUE...: what this template of the chart gives, without what only Helm or one namespace needs.
chart() {
    local template=$1
    shift
    local values=(
        preStopSleepSeconds=0
        shutdownDelaySeconds=5
        rollOnConfigChange=false
        "settings.pools.cache.discover.service=$release-memcached"
        settings.pools.cache.discover.port_name=memcache
        "$@"
    )
    local arguments=()
    local value
    for value in "${values[@]}"; do arguments+=(--set "$value"); done
    "$helm" template "$release" "$deploy/helm/ringroad" --namespace any --kube-version 1.34.0 \
        --show-only "templates/$template" "${arguments[@]}" |
        sed -e '/^  namespace: any$/d' -e '/app.kubernetes.io\/managed-by: Helm/d' -e '/helm.sh\/chart: /d' \
            -e '/^# Source: /d' -e 's/[[:space:]]*$//'
}

# kustomization RESOURCE...
kustomization() {
    printf '# Written by deploy/generate.sh from the chart; change that instead.\n'
    printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n'
    printf '  - %s\n' "$@"
}

generate() {
    local into=$1 overlay name mode template
    mkdir -p "$into/base"
    kustomization memcached.yaml >"$into/base/kustomization.yaml"
    chart memcached.yaml >"$into/base/memcached.yaml"
    for overlay in "${overlays[@]}"; do
        name=${overlay%%:*} mode=${overlay##*:}
        mkdir -p "$into/overlays/$name"
        kustomization ../../base ringroad.yaml >"$into/overlays/$name/kustomization.yaml"
        for template in configmap.yaml services.yaml workload.yaml; do
            chart "$template" "mode=$mode"
        done >"$into/overlays/$name/ringroad.yaml"
    done
}

case ${1:-} in
"")
    rm -rf "$deploy/kubernetes/base" "$deploy/kubernetes/overlays"
    generate "$deploy/kubernetes"
    ;;
--check)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    generate "$scratch"
    for part in base overlays; do
        if ! diff -ru "$scratch/$part" "$deploy/kubernetes/$part"; then
            echo "error: deploy/kubernetes is not what the chart gives; run deploy/generate.sh" >&2
            exit 1
        fi
    done
    echo "deploy/kubernetes is what the chart gives"
    ;;
*)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
