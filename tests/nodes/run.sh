#!/usr/bin/env bash
# A cluster of three nodes in network namespaces: pods with addresses of their own, kube-dns, hostPort 5000.
#
#   tests/nodes/run.sh [SCENARIO]...     all of them, or only these
#   tests/nodes/run.sh --list            what there is
#
# RINGROAD (default target/debug/ringroad) is the binary under test. Needed: Linux with network namespaces and nftables,
# the packages iproute2, nftables, util-linux, memcached, knot and python3. What can't be done here is said in a line and
# counts as skipped; the last line is "N passed, N failed, N skipped".
#
# All of it runs in namespaces of its own: for processes, so that all of them end with this script, however it ends; for
# mounts, so that the network namespaces' names go with it; and for the network, so that no packet leaves. Nothing can be
# left behind, and any number of runs can go on at a time.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
ringroad=${RINGROAD:-$root/target/debug/ringroad}
export PATH=$PATH:/usr/sbin:/sbin PYTHONDONTWRITEBYTECODE=1

# --- the network, inside the namespaces ---------------------------------------------------------------------------

inside() { # NAMESPACE COMMAND...
    nsenter --net="/run/netns/$1" "${@:2}"
}

# A host: its own namespace, with an interface on the wire that joins all of them.
host() { # NAME ADDRESS
    ip netns add "$1"
    ip -n "$1" link set lo up
    ip -n "$1" link add eth0 type veth peer name "$1" netns wire
    ip -n wire link set "$1" master wire up
    ip -n "$1" link set eth0 up
    ip -n "$1" address add "$2/24" dev eth0
    local other
    for other in 1 2 3; do
        if [[ $1 != "node-$other" ]]; then
            ip -n "$1" route add "10.244.$other.0/24" via "172.20.0.$other"
        fi
    done
}

# What a node has besides: it forwards, its own pods' range (packets to a pod that is gone vanish, as with Calico), and
# the rules of a kube-proxy. The chain "ports" is for hostPort and the Service of ringroad.
node() { # NUMBER
    local name=node-$1
    inside "$name" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    ip -n "$name" route add blackhole "10.244.$1.0/24"
    # Rules decide where packets to Services go, but only those that have a way at all.
    ip -n "$name" route add 10.96.0.0/16 dev eth0
    inside "$name" nft -f - <<'NFT'
table ip kube {
    chain services {
        ip daddr 10.96.0.10 udp dport 53 dnat to 172.20.0.53
        ip daddr 10.96.0.10 tcp dport 53 dnat to 172.20.0.53
        jump ports
    }
    chain ports { }
    chain prerouting {
        type nat hook prerouting priority dstnat
        jump services
    }
    chain output {
        type nat hook output priority -100
        jump services
    }
    chain forward {
        type filter hook forward priority filter
    }
}
NFT
}

if [[ ${RINGROAD_NODES_INSIDE:-} ]]; then
    # A /run of our own holds the names of network namespaces, and what programs write; every pod's DNS server is kube-dns.
    mount -t tmpfs none /run
    scratch=/run/cluster
    mkdir "$scratch"
    printf 'nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n' \
        >"$scratch/resolv.conf"
    mount --bind "$scratch/resolv.conf" "$(readlink -f /etc/resolv.conf || echo /etc/resolv.conf)"
    ip netns add wire
    ip -n wire link add wire type bridge
    ip -n wire link set wire up
    for number in 1 2 3; do
        host "node-$number" "172.20.0.$number"
        node "$number"
    done
    host dns 172.20.0.53
    # Where the scenarios run: it sees every pod and node.
    host control 172.20.0.100
    exec nsenter --net=/run/netns/control python3 "$here/scenarios.py" "$ringroad" "$scratch" "$@"
fi

# --- outside ------------------------------------------------------------------------------------------------------

if [[ ${1:-} == --list ]]; then
    exec python3 "$here/scenarios.py" --list
fi

skip() {
    echo "skipped: $*"
    echo "0 passed, 0 failed, $(python3 "$here/scenarios.py" --list | wc -l) skipped"
    exit 0
}

missing=()
for command in ip:iproute2 nft:nftables unshare:util-linux setpriv:util-linux memcached:memcached knotd:knot knotc:knot python3:python3; do
    command -v "${command%%:*}" >/dev/null || missing+=("${command##*:}")
done
if ((${#missing[@]} > 0)); then
    echo "tests/nodes: missing packages: ${missing[*]}" >&2
    exit 2
fi
if [[ ! -x $ringroad ]]; then
    echo "tests/nodes: $ringroad is not there; build it (cargo build) or name it in RINGROAD" >&2
    exit 2
fi

apart=(unshare --mount --net --pid --fork --kill-child --mount-proc)
if ((EUID != 0)); then
    apart+=(--map-root-user)
fi
# shellcheck disable=SC2016
"${apart[@]}" sh -c 'mount -t tmpfs none /run && ip netns add probe' 2>/dev/null ||
    skip "this machine doesn't let us make network namespaces (root, or unprivileged user namespaces, are needed)"
"${apart[@]}" nft 'add table ip probe; add chain ip probe probe { type nat hook prerouting priority dstnat; }' 2>/dev/null ||
    skip "this kernel has no nftables with NAT"

# It ends when this script does, even if that is killed.
RINGROAD_NODES_INSIDE=yes setpriv --pdeathsig KILL "${apart[@]}" bash "$here/run.sh" "$@" &
trap 'kill -KILL $! 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
wait $!
