#!/usr/bin/env bash
# Builds the shim into prebuilt/ and writes prebuilt/manifest.json, which says from which sources the files came.
#
#   ./build.sh           build (needs rustup's target wasm32-unknown-unknown, and nothing else)
#   ./build.sh --check   compare the manifest with sources and files, without building; exit code 1 if they differ
#
# The files are core modules, with the interface embedded: a program that is ported gets one of them as a component.
# The same sources and the same rustc give the same bytes, wherever the checkout lies. This script is not among the
# sources: the manifest speaks of what goes into a file, and a change here shows in them.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")"

rust=1.95.0
target=wasm32-unknown-unknown

# file -> cargo features
variants=(
    "http"
    "http-and-sockets sockets"
)
# What goes into the files, besides the two sources folders and the interface.
shared=(Cargo.lock Cargo.toml translation/Cargo.toml)
folders=(src wit translation/src)

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

    local file features
    cargo fetch --locked --quiet
    mkdir -p prebuilt
    for entry in "${variants[@]}"; do
        read -r file features <<< "$entry"
        cargo_build "$features"
        cp "target/$target/release/prewasm_shim.wasm" "prebuilt/$file.wasm"
        chmod 644 "prebuilt/$file.wasm"
    done
    manifest > prebuilt/manifest.json
    no_paths
}

cargo_build() {
    local flags
    flags=$(remapped_paths)
    # --config adds to the flags in a config.toml; the variables would replace them, even when empty.
    env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS cargo build --locked --release --features "$1" --target "$target" \
        --target-dir target --config "target.$target.rustflags=[$flags]"
}

# Panic messages hold paths of sources: of the crates, of the standard library, of this workspace.
remapped_paths() {
    local home registry
    home=${CARGO_HOME:-$HOME/.cargo}
    for registry in "$home"/registry/src/*; do
        printf '"--remap-path-prefix=%s=/crates",' "$registry"
    done
    printf '"--remap-path-prefix=%s/lib/rustlib/src/rust=/rust",' "$(rustc --print sysroot)"
    printf '"--remap-path-prefix=%s=/shim"' "$PWD"
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

check() {
    if ! diff -u prebuilt/manifest.json <(manifest) >&2; then
        echo "build.sh: prebuilt/ does not fit the sources" >&2
        echo "hint: run ./build.sh" >&2
        exit 1
    fi
}

manifest() {
    local separator='' file
    printf '{\n  "schemaVersion": 1,\n  "rustc": "%s",\n  "files": [' "$rust"
    for entry in "${variants[@]}"; do
        file=${entry%% *}
        printf '%s\n    {\n      "file": "%s.wasm",\n      "sha256": "%s"\n    }' \
            "$separator" "$file" "$(hash "prebuilt/$file.wasm")"
        separator=,
    done
    printf '\n  ],\n  "sources": {'
    sources
    printf '\n  }\n}\n'
}

sources() {
    local separator='' path
    while read -r path; do
        printf '%s\n    "%s": "%s"' "$separator" "$path" "$(hash "$path")"
        separator=,
    done < <({ printf '%s\n' "${shared[@]}"; find "${folders[@]}" -type f; } | sort)
}

hash() {
    sha256sum "$1" | cut -d ' ' -f 1
}

main "$@"
