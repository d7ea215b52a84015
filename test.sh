#!/usr/bin/env bash
# Runs all of ringroad's tests, on a fresh machine too.
#
#   ./test.sh            everything
#   ./test.sh --quick    without the suites of client libraries, the cluster and the container
#
# Needed: cargo and a C compiler. What else is missing is installed with apt-get (as root, or through sudo): memcached
# and knot, a DNS server, to test against; Python, for what is under deploy/; for the client libraries that and Node.js,
# Perl, PHP and Ruby, and what those are built with; nftables for the cluster, podman for the container.
# The last line says how many tests passed, failed and were skipped, if any were; the exit code is 1 if any failed.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=.ci/packages.sh
source .ci/packages.sh

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' test.sh
}

quick=
for argument in "$@"; do
    case $argument in
        --quick) quick=1 ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            echo "error: unknown argument $argument" >&2
            usage >&2
            exit 2
            ;;
    esac
done

passed=0
failed=0
skipped=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() {
    printf -- '--- %s\n' "$*"
}

# section NAME COUNT COMMAND...: runs the command and adds to the totals what COUNT, reading its output, prints: the
# number of tests that passed, that failed and that were skipped. A command that fails without a failed test is one, too.
section() {
    local name=$1 count=$2 began=$SECONDS status=0 p=0 f=0 s=0
    shift 2
    say "$name"
    "$@" 2>&1 </dev/null | tee "$scratch/output" || status=$?
    read -r p f s < <("$count" <"$scratch/output")
    if ((status != 0 && f == 0)); then
        f=1
    elif ((p == 0 && s == 0)); then
        echo "error: no test was run" >&2
        f=$((f + 1))
    fi
    passed=$((passed + p))
    failed=$((failed + f))
    skipped=$((skipped + s))
    say "$name: $p passed, $f failed, $s skipped, $((SECONDS - began)) s"
}

# Of cargo test.
# shellcheck disable=SC2317
count_cargo() {
    sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' |
        awk '{ p += $1; f += $2 } END { print p + 0, f + 0, 0 }'
}

# Of a line "N passed, N failed", with or without ", N skipped"; the last one counts.
# shellcheck disable=SC2317
count_plain() {
    sed -nE 's/^([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$/\1 \2 \4/p' |
        awk '{ p = $1; f = $2; s = $3 } END { print p + 0, f + 0, s + 0 }'
}

finish() {
    say "all: $SECONDS s"
    echo "$passed passed, $failed failed$( ((skipped == 0)) || echo ", $skipped skipped")"
    ((failed == 0)) || exit 1
    exit 0
}

if ! command -v cargo >/dev/null; then
    echo "error: cargo is missing; install Rust 1.88 or later" >&2
    exit 1
fi
need gcc command -v cc
need libc6-dev has_header stdio.h
need memcached command -v memcached
system=$PATH:/usr/local/sbin:/usr/sbin:/sbin
need knot env PATH="$system" sh -c 'command -v knotd && command -v knotc'
need python3 command -v python3
need python3-venv python3 -c 'import ensurepip, venv'
if [[ -z $quick && -e tests/clients/run.sh ]]; then
    need libmemcached-tools command -v memccapable
    need libmemcached-dev has_header libmemcached/memcached.h
    need zlib1g-dev has_header zlib.h
    need nodejs command -v node
    need npm command -v npm
    need libcache-memcached-perl perl -MCache::Memcached -e 1
    need libcache-memcached-fast-perl perl -MCache::Memcached::Fast -e 1
    need php-cli command -v php
    need php-memcached php -r 'exit(class_exists("Memcached") ? 0 : 1);'
    need ruby command -v ruby
    need ruby-dalli ruby -rdalli -e 1
fi
if [[ -z $quick ]]; then
    need util-linux sh -c 'command -v unshare && command -v nsenter && command -v setpriv'
    need iproute2 env PATH="$system" ip -V
    need nftables env PATH="$system" nft --version
    need iptables env PATH="$system" iptables --version
    need runc env PATH="$system" runc --version
    need podman command -v podman
    need netavark sh -c 'test -x /usr/lib/podman/netavark || test -x /usr/libexec/podman/netavark'
    need aardvark-dns sh -c 'test -x /usr/lib/podman/aardvark-dns || test -x /usr/libexec/podman/aardvark-dns'
    need mmdebstrap command -v mmdebstrap
fi
if ! install_missing; then
    failed=1
    finish
fi

# Tests open many connections. Where this may not be raised, it is enough as it is, mostly.
most=$(ulimit -Hn)
if [[ $most == unlimited ]] || ((most > 65536)); then
    most=65536
fi
if [[ $(ulimit -Sn) != unlimited ]] && (($(ulimit -Sn) < most)); then
    ulimit -Sn "$most" || true
fi

section "cargo test" count_cargo cargo test --no-fail-fast
if cargo build --bin ringroad; then
    target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    export RINGROAD=$target/debug/ringroad
    section "deployment" count_plain bash tests/deploy/run.sh
    if [[ -n $quick ]]; then
        say "client libraries, cluster, container: left out (--quick)"
    else
        if [[ -e tests/clients/run.sh ]]; then
            section "client libraries" count_plain bash tests/clients/run.sh
        fi
        section "cluster" count_plain bash tests/nodes/run.sh
        section "container" count_plain bash tests/container/run.sh
    fi
else
    failed=$((failed + 1))
fi
finish
