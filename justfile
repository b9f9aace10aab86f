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

# Everything that must hold before a change goes in
ci:
    .ci/run

# Measure side by side with native hyper and, where it is installed, `wasmtime serve`
bench:
    cargo bench --locked --bench serving

# Build samples/prebuilt/ again
samples:
    samples/build.sh
