# Conveniences over the commands which README.md and CONTRIBUTING.md name. Nothing needs them.

# List the recipes
default:
    @just --list

# Build, serve a guest, ask it with curl
demo:
    ./demo

# Run the tests
test:
    ./test

# Run ported programs on the stock wasmtime CLI and on jco (a build of some minutes, the first time)
hosts:
    tools/hosts-install target/hosts
    WASMTIME=$PWD/target/hosts/bin/wasmtime JCO=$PWD/target/hosts/bin/jco PREWASM_REQUIRE_HOSTS=wasmtime,jco \
        cargo test --workspace --locked --test hosts -- --nocapture

# Everything that must hold before a change goes in
ci:
    .ci/run

# Freeze made-up programs at 100,000 host calls and compare what follows (each night; about half an hour on two cores)
theorem:
    PREWASM_CASES=100000 cargo test --locked --package prewasm-snapshot --lib theorem::fuzz -- --nocapture

# Measure side by side with native hyper, Wizer and, where it is installed, `wasmtime serve`
bench:
    cargo bench --locked --bench serving
    cargo bench --locked --bench apps
    cargo bench --locked --bench restore
    cargo bench --locked --bench snapshot

# Build samples/prebuilt/ again
samples:
    samples/build.sh

# Build ext-http/shim/prebuilt/ again
shim:
    ext-http/shim/build.sh
