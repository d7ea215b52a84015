# Debian packages that are missing, and their installation. To be sourced.
#
# A thing counts as there when its check succeeds, wherever it came from: nobody's own node or python is touched.
# shellcheck shell=bash

# The packages that are still to be installed.
missing_packages=()

# need PACKAGE CHECK...: the package is missing unless this command succeeds.
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing_packages+=("$package")
}

# has_header FILE: a C compiler finds it.
has_header() {
    printf '#include <%s>\n' "$1" | cc -E -x c - 
}

# Installs what need has found missing. Returns 1, after having said what is to be installed, where it can't.
install_missing() {
    local packages=("${missing_packages[@]}")
    local install=(apt-get install -y --no-install-recommends)
    missing_packages=()
    ((${#packages[@]} > 0)) || return 0
    if ! command -v apt-get >/dev/null; then
        echo "error: please install what is missing; Debian's names of it: ${packages[*]}" >&2
        return 1
    fi
    local sudo=()
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            echo "error: please install what is missing, as root: apt-get install ${packages[*]}" >&2
            return 1
        fi
        sudo=(sudo)
    fi
    echo "installing what is missing: ${packages[*]}"
    local log
    log=$(mktemp)
    # An old list of packages names files that are gone, so it is renewed first.
    if ! "${sudo[@]}" apt-get update >"$log" 2>&1 ||
        ! "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" "${packages[@]}" >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        echo "error: could not install: ${packages[*]}" >&2
        return 1
    fi
    rm -f "$log"
}
