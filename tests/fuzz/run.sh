#!/usr/bin/env bash
# Builds all fuzz targets and runs them, each for so many seconds, as many at a time as there are cores.
#
#   tests/fuzz/run.sh [SECONDS] [TARGET...]     60 seconds and all targets, unless given
#
# What makes a target fail is kept in tests/fuzz/artifacts/TARGET; give the file to the target to see it again:
#   tests/fuzz/target/x86_64-unknown-linux-gnu/release/TARGET FILE
# Inputs that reached something new are kept in tests/fuzz/corpus/TARGET (not in git) and are where the next
# run begins, together with those in tests/fuzz/seeds/TARGET.
#
# No nightly compiler is needed: the instrumentation is what cargo-fuzz asks the compiler for, without a
# sanitizer, which safe Rust has little use for.
set -euo pipefail
cd "$(dirname "$0")"

seconds=60
mkdir -p artifacts
if [[ ${1-} =~ ^[0-9]+$ ]]; then
    seconds=$1
    shift
fi
if [[ ${1-} == -* ]]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' run.sh
    exit 0
fi
mapfile -t targets < <(sed -n 's|^path = "targets/\(.*\)\.rs"|\1|p' Cargo.toml)
if (($# > 0)); then
    for target in "$@"; do
        if [[ " ${targets[*]} " != *" $target "* ]]; then
            echo "error: there is no target $target; there are: ${targets[*]}" >&2
            exit 2
        fi
    done
    targets=("$@")
fi
if ! command -v c++ >/dev/null; then
    echo "error: libFuzzer is built from C++ source; install a C++ compiler (Debian: g++)" >&2
    exit 2
fi

host=$(rustc -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-target}
flags=(
    --cfg fuzzing
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
)
bins=()
for target in "${targets[@]}"; do
    bins+=(--bin "$target")
done
# With a target named, build scripts and macros are not instrumented.
RUSTFLAGS="${flags[*]}" cargo build --release --target "$host" "${bins[@]}"

# Runs one target; what is in its .status file at the end says how it went.
fuzz() {
    local target=$1 log=artifacts/$1.log result=failed runs
    mkdir -p "corpus/$target" "artifacts/$target"
    local options=(
        -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -max_len=4096
        -artifact_prefix="artifacts/$target/" -verbosity=0 -print_final_stats=1
    )
    case $target in
        config) options+=(-dict=config.dict) ;;
        mcrouter) options+=(-dict=mcrouter.dict) ;;
        *) options+=(-dict=protocol.dict) ;;
    esac
    if RUST_BACKTRACE=0 "$out/$host/release/$target" "${options[@]}" "corpus/$target" "seeds/$target" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        if ((${runs:-0} > 0)); then
            result=ok
            echo "fuzz $target: ok, $runs inputs in $seconds s"
        else
            echo "fuzz $target: FAILED, it ran nothing" >&2
        fi
    else
        echo "fuzz $target: FAILED" >&2
        grep -a -A6 -E 'panicked at|ERROR: libFuzzer' "$log" | cut -c1-2000 >&2 || true
        grep -a 'Test unit written' "$log" >&2 || true
    fi
    echo "$result" >"artifacts/$target.status"
}

rm -rf artifacts/*.status
running=0
for target in "${targets[@]}"; do
    if ((running == $(nproc))); then
        wait -n
        running=$((running - 1))
    fi
    fuzz "$target" &
    running=$((running + 1))
done
wait

failed=()
for target in "${targets[@]}"; do
    if [[ $(cat "artifacts/$target.status" 2>/dev/null) != ok ]]; then
        failed+=("$target")
    fi
done
if ((${#failed[@]} > 0)); then
    echo "fuzz: failed: ${failed[*]}" >&2
    exit 1
fi
