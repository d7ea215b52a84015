#!/usr/bin/env bash
# The real image in a real container: built by podman from the Dockerfile as it is, run as the chart would have it run.
#
#   tests/container/run.sh
#
# RINGROAD (default target/debug/ringroad) puts the load on it. Needed: root on Linux, the packages podman, runc, netavark,
# aardvark-dns, iptables, iproute2, mmdebstrap and python3 with venv; Helm comes from the Python package index. What can't
# be done here is said in a line and counts as skipped; the last line is "N passed, N failed, N skipped".
#
# No image is pulled and nothing is fetched while the image is built. Its first stage begins with an image that is made
# here, of Debian's packages; into that the machine's own Rust and the crates are mounted. What takes long is kept in
# target/container: that image, the crates, and what Cargo has built.
# Everything runs in namespaces of its own, so that no process, mount or rule is left behind, and no packet leaves.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
work=$target/container
export RINGROAD=${RINGROAD:-$target/debug/ringroad}
export PATH=$PATH:/usr/sbin:/sbin PYTHONDONTWRITEBYTECODE=1
base=localhost/ringroad-test/base
image=localhost/ringroad-test/ringroad

skip() {
    echo "skipped: $*"
    echo "0 passed, 0 failed, $(python3 "$here/steps.py" --list | wc -l) skipped"
    exit 0
}

# What is outside of target/container goes with the namespaces.
engine=(podman --root "$work/storage" --runroot /run/containers-root --tmpdir /run/libpod --runtime runc
    --cgroup-manager cgroupfs --events-backend none --network-config-dir /run/networks --log-level error)

# --- inside the namespaces ----------------------------------------------------------------------------------------

limits=(--ulimit nofile=20000:20000 --ulimit nproc=4096:4096)
group=(--cgroup-parent /ringroad-test)

prepare() {
    mount -t tmpfs none /run
    mkdir /run/networks
    ip link set lo up
    # Names that podman's DNS does not know are nobody's.
    echo 'nameserver 127.0.0.1' >/run/resolv.conf
    mount --bind /run/resolv.conf "$(readlink -f /etc/resolv.conf)"
    # What Cargo has built is kept there.
    export TMPDIR=$work/tmp
    mkdir -p "$TMPDIR"
    export CONTAINERS_CONF=/run/containers.conf
    printf '[network]\nnetwork_backend = "netavark"\n' >"$CONTAINERS_CONF"
}

case ${RINGROAD_CONTAINER_INSIDE:-} in
    probe)
        prepare
        "${engine[@]}" image exists "$base" ||
            "${engine[@]}" import --quiet --change 'ENV PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$work/base.tar" "$base"
        "${engine[@]}" run --rm "${limits[@]}" "${group[@]}" --memory 64m --network none "$base" true
        "${engine[@]}" network create probe
        "${engine[@]}" run --rm "${limits[@]}" "${group[@]}" --network probe "$base" true
        exit
        ;;
    steps)
        prepare
        # Left by a run that was killed.
        "${engine[@]}" rm --all --force --time 0 >/dev/null
        echo "building the image"
        began=$SECONDS
        "${engine[@]}" build --format docker --network none "${limits[@]}" \
            --volume "$(rustc --print sysroot):/opt/rust:ro" --volume "$work/crates:/crates:ro" \
            --build-arg "RUST_IMAGE=$base" --build-arg "CARGO_FLAGS=--offline --config /crates/config.toml" \
            --tag "$image" "$root" >"$work/build.log" 2>&1 || {
            tail -n 40 "$work/build.log"
            echo "   FAILED: the image is built from the Dockerfile"
            echo "0 passed, 1 failed, 0 skipped"
            exit 1
        }
        echo "   ok: the image is built from the Dockerfile as it is, without a network ($((SECONDS - began)) s)"
        mkdir -p "$work/scratch"
        exec python "$here/steps.py" "$image" "$base" "$root/deploy/helm/ringroad" "$work/scratch" "${engine[@]}"
        ;;
esac

# --- outside ------------------------------------------------------------------------------------------------------

missing=()
for command in podman:podman runc:runc iptables:iptables ip:iproute2 mmdebstrap:mmdebstrap python3:python3; do
    command -v "${command%%:*}" >/dev/null || missing+=("${command##*:}")
done
for program in netavark aardvark-dns; do
    [[ -x /usr/lib/podman/$program || -x /usr/libexec/podman/$program ]] || missing+=("$program")
done
if ((${#missing[@]} > 0)); then
    echo "tests/container: missing packages: ${missing[*]}" >&2
    exit 2
fi
if [[ ! -x $RINGROAD ]]; then
    echo "tests/container: $RINGROAD is not there; build it (cargo build) or name it in RINGROAD" >&2
    exit 2
fi

((EUID == 0)) || skip "containers with a memory limit are made by root"
apart=(unshare --mount --net --pid --fork --kill-child --mount-proc)
"${apart[@]}" mount -t tmpfs none /run 2>/dev/null || skip "this machine doesn't let us make namespaces"

mkdir -p "$work"
exec 9>"$work/lock"
flock 9

packages=gcc,libc6-dev,memcached
if [[ ! -e $work/base.tar || $(cat "$work/base.stamp" 2>/dev/null) != "$packages" ]]; then
    echo "making the image that the first stage begins with"
    rm -rf "$work/storage" "$work/base.stamp"
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mmdebstrap --variant=minbase --include="$packages" "$suite" "$work/base.tar" >"$work/base.log" 2>&1 || {
        tail -n 3 "$work/base.log"
        skip "mmdebstrap can't make an image of Debian's packages here"
    }
    echo "$packages" >"$work/base.stamp"
fi
if ! cmp -s "$root/Cargo.lock" "$work/crates/Cargo.lock"; then
    rm -rf "$work/crates"
    (cd "$root" && cargo vendor --locked --versioned-dirs "$work/crates/crates" 2>"$work/crates.log") |
        sed 's#^directory = .*#directory = "/crates/crates"#' >"$work/crates.toml"
    mv "$work/crates.toml" "$work/crates/config.toml"
    cp "$root/Cargo.lock" "$work/crates/Cargo.lock"
fi
# shellcheck source=tests/deploy/tools.sh
source "$root/tests/deploy/tools.sh"

RINGROAD_CONTAINER_INSIDE=probe "${apart[@]}" bash "$here/run.sh" >"$work/probe.log" 2>&1 9>&- ||
    skip "podman can't run containers here: $(tail -n 1 "$work/probe.log")"

# It ends when this script does, even if that is killed.
RINGROAD_CONTAINER_INSIDE=steps setpriv --pdeathsig KILL "${apart[@]}" bash "$here/run.sh" 9>&- &
trap 'kill -KILL $! 2>/dev/null || true; find /sys/fs/cgroup -depth -path "*/ringroad-test*" -type d -exec rmdir {} + 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
wait $!
