#!/usr/bin/env bash
# Builds every guest into prebuilt/ and writes prebuilt/manifest.json, which says from which sources each file came.
#
#   ./build.sh           build (needs rustup's targets wasm32-wasip1 and wasm32-wasip2, and nothing else)
#   ./build.sh --check   compare the manifest with sources and files, without building; exit code 1 if they differ
#
# The same sources and the same rustc give the same bytes, wherever the checkout lies. This script is not among the
# sources: the manifest speaks of what goes into a guest, and a change here shows in the files.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")"

rust=1.95.0

# guest -> target. The file is called as the guest.
guests=(
    "blocking-server wasm32-wasip1"
    "cgi-echo wasm32-wasip1"
    "cgi-hello wasm32-wasip1"
    "component-hello wasm32-wasip2"
    "component-misbehave wasm32-wasip2"
    "component-p3 wasm32-wasip2"
    "environment wasm32-wasip1"
    "hash-maps wasm32-wasip1"
    "http-client wasm32-wasip1"
    "hyper-client wasm32-wasip1"
    "hyper-server wasm32-wasip1"
    "javascript wasm32-wasip1"
    "legacy-client wasm32-wasip1"
    "lookup-client wasm32-wasip1"
    "misbehave wasm32-wasip1"
    "mixed-accept wasm32-wasip1"
    "nonblocking-client wasm32-wasip1"
    "own-generator wasm32-wasip1"
    "plugin-client wasm32-wasip1"
    "poll-http-server wasm32-wasip1"
    "poll-server wasm32-wasip1"
    "primes wasm32-wasip1"
    "reqwest-client wasm32-wasip1"
    "rules-server wasm32-wasip1"
    "socket-calls wasm32-wasip1"
    "templates wasm32-wasip1"
    "tls-client wasm32-wasip1"
    "udp-echo wasm32-wasip1"
)
# Guests which are built once more as most programs are, without .cargo/config.toml's stack: what benchmarks measure.
# The file is called `guest`-default.wasm.
with_default_flags=(
    "cgi-hello wasm32-wasip1"
    "component-hello wasm32-wasip2"
    "hyper-server wasm32-wasip1"
)
# What goes into every guest besides its own package.
shared=(.cargo/config.toml Cargo.lock Cargo.toml)

main() {
    case ${1-} in
        "") build ;;
        --check) check ;;
        *) echo "usage: build.sh [--check]" >&2; exit 2 ;;
    esac
}

build() {
    local installed
    installed=$(rustc --version | cut -d ' ' -f 2)
    if [ "$installed" != "$rust" ]; then
        echo "build.sh: rustc $installed would give other bytes than rustc $rust" >&2
        echo "hint: rustup run $rust ./build.sh" >&2
        exit 1
    fi

    local guest target
    cargo fetch --locked --quiet
    mkdir -p prebuilt
    for entry in "${guests[@]}"; do
        read -r guest target <<< "$entry"
        build_guest "$guest" "$target" "$guest"
    done
    for entry in "${with_default_flags[@]}"; do
        read -r guest target <<< "$entry"
        # rustc asks for this stack unless told otherwise; of several wishes the linker takes the last.
        DEFAULT_FLAGS=1 build_guest "$guest" "$target" "$guest-default" ',"-C","link-arg=-zstack-size=1048576"'
    done
    manifest > prebuilt/manifest.json
    no_paths
}

build_guest() {
    local guest=$1 target=$2 file=$3 flags=${4-}
    cargo_build "$guest" "$target" "$flags"
    cp "target/$target/release/$(artifact "$guest" "$target")" "prebuilt/$file.wasm"
    # A component comes out of its linker as a plain file, a module as an executable one.
    chmod 644 "prebuilt/$file.wasm"
}

# Each guest alone: features of a common dependency would otherwise depend on who else is built.
cargo_build() {
    local guest=$1 target=$2 flags
    flags=$(remapped_paths)$3
    # --config adds to the flags in .cargo/config.toml; the variables would replace them, even when empty.
    env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS cargo build --locked --release --package "$guest" --target "$target" --target-dir target \
        --config "target.$target.rustflags=[$flags]"
}

# Panic messages hold paths of sources: of the crates, of the standard library, of this workspace.
remapped_paths() {
    local home registry
    home=${CARGO_HOME:-$HOME/.cargo}
    for registry in "$home"/registry/src/*; do
        printf '"--remap-path-prefix=%s=/crates",' "$registry"
    done
    printf '"--remap-path-prefix=%s/lib/rustlib/src/rust=/rust",' "$(rustc --print sysroot)"
    printf '"--remap-path-prefix=%s=/samples"' "$PWD"
}

# The last line of defence: a path which no rule above covers must not go unnoticed.
no_paths() {
    local place
    for place in "$HOME" "${CARGO_HOME:-$HOME/.cargo}" "$PWD" "$(rustc --print sysroot)"; do
        if grep -l -a -F -e "$place" prebuilt/*.wasm; then
            echo "build.sh: the files above contain \`$place\`" >&2
            exit 1
        fi
    done
}

artifact() {
    # A library's file is named for the crate, a program's for the package.
    case $2 in
        wasm32-wasip2) echo "${1//-/_}.wasm" ;;
        *) echo "$1.wasm" ;;
    esac
}

check() {
    if ! diff -u prebuilt/manifest.json <(manifest) >&2; then
        echo "build.sh: prebuilt/ does not fit the sources" >&2
        echo "hint: run ./build.sh" >&2
        exit 1
    fi
}

manifest() {
    local separator='' guest
    printf '{\n  "schemaVersion": 1,\n  "rustc": "%s",\n  "guests": [' "$rust"
    for entry in "${guests[@]}"; do
        guest=${entry%% *}
        describe "$separator" "$guest" "$guest"
        separator=,
    done
    for entry in "${with_default_flags[@]}"; do
        guest=${entry%% *}
        describe "$separator" "$guest" "$guest-default"
    done
    printf '\n  ]\n}\n'
}

describe() {
    local separator=$1 guest=$2 file=$3
    printf '%s\n    {\n      "file": "%s.wasm",\n      "sha256": "%s",\n      "sources": {' \
        "$separator" "$file" "$(hash "prebuilt/$file.wasm")"
    sources "$guest"
    printf '\n      }\n    }'
}

sources() {
    local separator='' path
    while read -r path; do
        printf '%s\n        "%s": "%s"' "$separator" "$path" "$(hash "$path")"
        separator=,
    done < <({ printf '%s\n' "${shared[@]}"; find "$1" -type f; } | sort)
}

hash() {
    sha256sum "$1" | cut -d ' ' -f 1
}

main "$@"
