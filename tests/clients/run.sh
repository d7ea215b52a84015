#!/usr/bin/env bash
# Client libraries against ringroad, compared with the same tests against a plain memcached.
#
#   tests/clients/run.sh [--only NAME]... [--list]
#
# RINGROAD (default target/debug/ringroad) is the binary, MEMCACHED (default memcached) the servers' program.
# Starts three plain memcacheds to compare with, and ringroad with three listeners in front of three more. Each suite
# runs on both: what passes on memcached must pass on ringroad. A suite that passes less on memcached than it is known
# to is a failure too, or a broken installation would look like success. Clients come from the package registries,
# in the versions that requirements.txt and package.json name, into target/clients.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
ringroad=${RINGROAD:-$root/target/debug/ringroad}
memcached=${MEMCACHED:-memcached}
limit=300 # seconds a suite may take on one target, on a busy machine
work=${CARGO_TARGET_DIR:-$root/target}/clients
venv=$work/venv
node=$work/node
run=$work/run
processes=()

# NAME MINIMUM: how many tests pass on a memcached of the installed version ("all": those that there are).
suites=(
    "memccapable 27"
    "pymemcache-own 100"
    "pymemcache all"
    "python-memcached-own 26"
    "python-memcached all"
    "pylibmc-own 38"
    "pylibmc all"
    "asyncio all"
    "meta-memcache all"
    "node-memcached-own 36"
    "node-memcached all"
    "memcache-client all"
    "memjs all"
    "perl all"
    "php all"
    "dalli all"
)

# Tests that pass on memcached and cannot on ringroad: "SUITE TEST", and the entry of src/docs/differences.md.
declare -A differences=(
    ["memccapable ascii delete"]="delete with too many words: answered as by 1.6.45, which fails this test, too"
    ["memccapable ascii delete noreply"]="delete with too many words: answered as by 1.6.45, which fails this test, too"
)
for class in Client PooledClient HashClientSingle; do
    for prefix in '' prefix; do # stats cachedump and cache_memlimit in one test
        differences["pymemcache-own pymemcache/test/test_integration.py::test_misc[socket-$class-$prefix]"]="stats cachedump, cache_memlimit: administer one server"
    done
done

fail() {
    echo "tests/clients: $*" >&2
    exit 2
}

stop() {
    local pid
    for pid in "${processes[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${processes[@]}"; do wait "$pid" 2>/dev/null || true; done
}
trap stop EXIT
trap 'exit 130' INT TERM

only=()
while (($#)); do
    case $1 in
    --only)
        [[ $# -gt 1 ]] || fail "--only needs the name of a suite; --list shows them"
        only+=("$2")
        shift
        ;;
    --list)
        printf '%s\n' "${suites[@]%% *}"
        exit 0
        ;;
    *) fail "unknown argument $1; usage: $0 [--only NAME]... [--list]" ;;
    esac
    shift
done
for name in "${only[@]}"; do
    printf '%s\n' "${suites[@]%% *}" | grep -qxF -- "$name" || fail "no suite is called $name; --list shows them"
done

chosen() {
    ((${#only[@]} == 0)) || [[ " ${only[*]} " == *" $1 "* ]]
}

# --- what must be there -------------------------------------------------------------------------------------------

missing=()
need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || missing+=("$1 (Debian, Ubuntu: apt-get install $2)")
}
need "$memcached" memcached
need python3 python3
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=("Python's venv (Debian, Ubuntu: apt-get install python3-venv)")
if chosen memccapable; then need memccapable libmemcached-tools; fi
if chosen node-memcached || chosen node-memcached-own || chosen memcache-client || chosen memjs; then
    need node nodejs
    need npm npm
fi
if chosen perl; then
    need perl perl
    for module in Cache::Memcached Cache::Memcached::Fast; do
        package=lib$(tr '[:upper:]' '[:lower:]' <<<"${module//::/-}")-perl
        perl "-M$module" -e 1 2>/dev/null || missing+=("Perl's $module (Debian, Ubuntu: apt-get install $package)")
    done
fi
if chosen php; then
    need php php-cli
    ! command -v php >/dev/null || php -r 'exit(class_exists("Memcached") ? 0 : 1);' ||
        missing+=("PHP's memcached extension (Debian, Ubuntu: apt-get install php-memcached)")
fi
if chosen dalli; then
    need ruby ruby
    ! command -v ruby >/dev/null || ruby -e 'require "dalli"' 2>/dev/null ||
        missing+=("Ruby's dalli (Debian, Ubuntu: apt-get install ruby-dalli)")
fi
((${#missing[@]} == 0)) || fail "missing: $(printf '\n  %s' "${missing[@]}")"
[[ -x $ringroad ]] || fail "$ringroad is not there; build it (cargo build) or name it in RINGROAD"

# --- installation -------------------------------------------------------------------------------------------------

# Runs a step again only when what it depends on has changed.
once() { # STAMP INPUT COMMAND…
    local stamp=$work/$1.stamp input=$2
    shift 2
    if [[ -f $stamp ]] && [[ $(<"$stamp") == "$input" ]]; then return; fi
    rm -f "$stamp"
    "$@" >"$work/install.log" 2>&1 || {
        tail -n 30 "$work/install.log" >&2
        fail "installing failed: $*"
    }
    printf '%s' "$input" >"$stamp"
}

install_python() {
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" setuptools wheel
}

install_node() {
    mkdir -p "$node"
    cp "$here/package.json" "$node/"
    (cd "$node" && npm install --no-audit --no-fund --loglevel=error)
}

# The sources of a package on the Python index: wheels come without their tests.
install_source() { # NAME VERSION
    rm -rf "$work/source/$1"
    mkdir -p "$work/source/$1"
    "$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: --no-build-isolation \
        --dest "$work/source/$1" "$1==$2"
    tar -xzf "$work/source/$1"/*.tar.gz -C "$work/source/$1" --strip-components=1
}

pinned() { # NAME: its version in requirements.txt
    sed -n "s/^$1==//p" "$here/requirements.txt"
}

mkdir -p "$work"
export PIP_ROOT_USER_ACTION=ignore
once python "$(python3 -V) $(<"$here/requirements.txt")" install_python
for name in pymemcache python-memcached pylibmc; do
    if chosen "$name-own"; then once "source-$name" "$(pinned "$name")" install_source "$name" "$(pinned "$name")"; fi
done
if chosen node-memcached || chosen node-memcached-own || chosen memcache-client || chosen memjs; then
    once node "$(node --version) $(<"$here/package.json")" install_node
fi

# --- servers ------------------------------------------------------------------------------------------------------

rm -rf "$run"
mkdir -p "$run"

accepts() { # PORT
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_ports() { # COUNT: below the ephemeral range, so that no outgoing connection takes one
    python3 - "$1" <<'PYTHON'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(10000, 30000)))
        held.append(s)
    except OSError:
        s.close()
print(*(s.getsockname()[1] for s in held))
PYTHON
}

start() { # PORT LOG COMMAND…
    local port=$1 log=$2 pid
    shift 2
    "$@" >"$log" 2>&1 &
    pid=$!
    processes+=("$pid")
    for _ in $(seq 300); do
        if accepts "$port"; then return; fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    cat "$log" >&2
    fail "$1 does not accept connections on port $port"
}

read -r -a ports <<<"$(free_ports 9)"
plain=("${ports[@]:0:3}")
router=("${ports[@]:3:3}")
backends=("${ports[@]:6:3}")
as_user=()
if [[ $(id -u) == 0 ]]; then as_user=(-u nobody); fi
for port in "${plain[@]}" "${backends[@]}"; do
    start "$port" "$run/memcached-$port.log" "$memcached" -l 127.0.0.1 -p "$port" -U 0 -m 128 -t 2 "${as_user[@]}"
done
cat >"$run/ringroad.toml" <<TOML
listen = ["127.0.0.1:${router[0]}", "127.0.0.1:${router[1]}", "127.0.0.1:${router[2]}"]
workers = 2
flush_all = true

[pools.cache]
servers = ["127.0.0.1:${backends[0]}", "127.0.0.1:${backends[1]}", "127.0.0.1:${backends[2]}"]
# These tests are about what is answered, and the machine may be busy: nobody gives up early.
timeout = "20s"
connect_timeout = "10s"
TOML
start "${router[0]}" "$run/ringroad.log" "$ringroad" run --config "$run/ringroad.toml" --log-format human
router_pid=${processes[-1]}

# --- suites: each is told its ports in CLIENTS_PORTS, and writes TAP to its standard output -----------------------

bounded() {
    timeout --kill-after=10 "$limit" "$@"
}

# A copy of a package's own tests, to point them at our ports.
copied() { # NAME: prints the directory
    local copy=$run/$1-$CLIENTS_TARGET
    cp -r "$work/source/$1" "$copy"
    echo "$copy"
}

with_pytest() { # ARGUMENTS…
    export CLIENTS_TAP=$run/pytest.tap PYTHONDONTWRITEBYTECODE=1
    rm -f "$CLIENTS_TAP"
    PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} bounded "$venv/bin/python" -m pytest -p tap_report -p no:cacheprovider -q "$@" >&2 || true
    cat "$CLIENTS_TAP"
}

with_mocha() { # ARGUMENTS…
    NODE_PATH=$node/node_modules bounded "$node/node_modules/.bin/mocha" --reporter tap --exit "$@" || true
}

suite_memccapable() {
    # Without -a it would also try the binary protocol. A test that fails says so on standard error, so both go into
    # one pipe, unbuffered.
    { bounded stdbuf -o0 -e0 memccapable -h 127.0.0.1 -p "${CLIENTS_PORTS%% *}" -a 2>&1 || true; } |
        sed -nE 's/^(ascii .*[^ ]) +\[pass\]$/ok - \1/p; t; s/^(ascii .*[^ ]) +\[.*$/not ok - \1/p'
}

suite_pymemcache-own() {
    # The other files have no server; its benchmarks run for minutes and assert nothing.
    (cd "$(copied pymemcache)" && with_pytest -c /dev/null --rootdir . \
        pymemcache/test/test_integration.py pymemcache/test/test_compression.py -m 'not benchmark' \
        --server 127.0.0.1 --port "${CLIENTS_PORTS%% *}")
}
suite_python-memcached-own() {
    local copy
    copy=$(copied python-memcached)
    sed -i "s/127.0.0.1:11211/127.0.0.1:${CLIENTS_PORTS%% *}/" "$copy"/tests/*.py
    # They are a package, of which two files are missing in what is published.
    touch "$copy/tests/__init__.py"
    cp "$here/python_memcached_utils.py" "$copy/tests/utils.py"
    (cd "$copy" && PYTHONPATH=$copy with_pytest -c /dev/null --rootdir . tests)
}
suite_pylibmc-own() {
    local copy
    copy=$(copied pylibmc)
    # Its fixtures ask for the binary protocol without need: no test of it is about that.
    sed -i "s/binary=True/binary=False/; s/\"11211\"/\"${CLIENTS_PORTS%% *}\"/" "$copy"/tests/*.py
    (cd "$copy" && MEMCACHED_PORT=${CLIENTS_PORTS%% *} with_pytest -c /dev/null --rootdir . tests)
}
suite_node-memcached-own() {
    local copy=$run/node-memcached-$CLIENTS_TARGET port
    cp -r "$node/node_modules/memcached" "$copy"
    # Its servers are fixed but for the host.
    local number=11211
    for port in $CLIENTS_PORTS; do
        sed -i "s/':$number'/':$port'/" "$copy/test/common.js"
        number=$((number + 1))
    done
    # Its tests of connections are about servers that are not there, so that no endpoint takes part, and run for minutes.
    rm "$copy/test/memcached-connections.test.js"
    (cd "$copy" && MEMCACHED__HOST=127.0.0.1 with_mocha --no-config --require should --ui bdd 'test/*.test.js')
}

suite_pymemcache() { with_pytest -c /dev/null --rootdir "$here" "$here/test_pymemcache.py"; }
suite_python-memcached() { with_pytest -c /dev/null --rootdir "$here" "$here/test_python_memcached.py"; }
suite_pylibmc() { with_pytest -c /dev/null --rootdir "$here" "$here/test_pylibmc.py"; }
suite_asyncio() { with_pytest -c /dev/null --rootdir "$here" "$here/test_asyncio.py"; }
suite_meta-memcache() { with_pytest -c /dev/null --rootdir "$here" "$here/test_meta_memcache.py"; }
suite_node-memcached() { with_mocha "$here/memcached.test.js"; }
suite_memcache-client() { with_mocha "$here/memcache-client.test.js"; }
suite_memjs() { with_mocha "$here/memjs.test.js"; }
suite_perl() { bounded perl "$here/perl.pl" || true; }
suite_php() { bounded php "$here/memcached.php" || true; }
suite_dalli() { bounded ruby "$here/dalli.rb" || true; }

# --- comparison ---------------------------------------------------------------------------------------------------

# TAP to "RESULT<tab>TEST", repeated names numbered. Indented lines are parts of a test.
results() {
    awk '/^(not )?ok( |$)/ {
        result = /^not/ ? "fail" : "pass"
        if (tolower($0) ~ /# *(skip|todo)/) result = "skip"
        name = $0
        sub(/^(not )?ok */, "", name)
        sub(/^[0-9]+ */, "", name)
        sub(/^- */, "", name)
        if (name == "") name = "test"
        if (seen[name]++) name = name " (" seen[name] ")"
        print result "\t" name
    }'
}

passed=0
failed=0
table=()
for entry in "${suites[@]}"; do
    read -r name minimum <<<"$entry"
    chosen "$name" || continue
    echo "== $name"
    for target in memcached ringroad; do
        # Nothing that one suite left behind decides another.
        for port in "${plain[@]}" "${backends[@]}"; do
            exec 3<>"/dev/tcp/127.0.0.1/$port"
            printf 'flush_all\r\n' >&3
            read -r _ <&3
            exec 3>&-
        done
        if [[ $target == memcached ]]; then CLIENTS_PORTS=${plain[*]}; else CLIENTS_PORTS=${router[*]}; fi
        export CLIENTS_PORTS CLIENTS_TARGET=$target
        "suite_$name" >"$run/$name.$target.tap" 2>"$run/$name.$target.log" || true
        results <"$run/$name.$target.tap" | sort >"$run/$name.$target"
    done
    total=$(wc -l <"$run/$name.memcached")
    on_memcached=$(grep -c ^pass "$run/$name.memcached" || true)
    on_ringroad=$(grep -c ^pass "$run/$name.ringroad" || true)
    table+=("$(printf '%-22s %6d %10d %9d' "$name" "$total" "$on_memcached" "$on_ringroad")")
    if [[ $minimum == all ]]; then minimum=$((total > 0 ? total : 1)); fi
    listed=0 # A difference may be one between versions, and this memcached the newer one.
    while IFS=$'\t' read -r result test; do
        if [[ $result != pass && -n ${differences["$name $test"]:-} ]]; then listed=$((listed + 1)); fi
    done <"$run/$name.memcached"
    if ((on_memcached + listed < minimum)); then
        failed=$((failed + 1))
        echo "FAILED $name: $on_memcached tests pass on memcached, $minimum are known to; see $run/$name.memcached.log"
        grep -v ^pass "$run/$name.memcached" | sed 's/^/  on memcached: /' || true
    fi
    while IFS=$'\t' read -r result test; do
        [[ $result == pass ]] || continue
        reason=${differences["$name $test"]:-}
        if grep -qxF -- "pass"$'\t'"$test" "$run/$name.ringroad"; then
            if [[ -n $reason ]]; then
                failed=$((failed + 1))
                echo "FAILED $name: $test passes, but is listed as a difference ($reason)"
            else
                passed=$((passed + 1))
            fi
        elif [[ -n $reason ]]; then
            echo "differs $name: $test ($reason)"
        else
            failed=$((failed + 1))
            echo "FAILED $name: $test passes on memcached and not on ringroad; see $run/$name.ringroad.log"
        fi
    done <"$run/$name.memcached"
    if ! kill -0 "$router_pid" 2>/dev/null; then
        cat "$run/ringroad.log" >&2
        echo "FAILED $name: ringroad has ended"
        failed=$((failed + 1))
        break
    fi
done

echo
printf '%-22s %6s %10s %9s\n' client tests memcached ringroad
printf '%s\n' "${table[@]}"
echo
echo "$passed passed, $failed failed"
((failed == 0))
