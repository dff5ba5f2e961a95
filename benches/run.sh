#!/usr/bin/env bash
# Measures what docs/performance.md tells, and prints its tables. `make bench` calls it.
#
# Servers run on the first core and the generator on the second, each figure in turns with what it is compared to.
# BENCH_ROUNDS and BENCH_SECONDS make it shorter or more thorough.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${BENCH_ROUNDS:-5}
seconds=${BENCH_SECONDS:-3}

# Prints the program that cargo builds for a bench, with the profile and flags given.
program() {
    local bench=$1
    shift
    cargo build --locked --bench "$bench" --message-format json "$@" |
        sed -n 's|.*"executable":"\([^"]*/deps/'"$bench"'-[^"]*\)".*|\1|p'
}

# In one invocation, so that the server and the empty service beside it are built alike.
echo "==> building" >&2
cargo build --locked --release --bin fuseboard --bench load --bench engine
load=$(program load --release)
engine=$(program engine --release)
fuseboard=$(dirname "$load")/../fuseboard
# The empty service as tonic's documentation has it: default build, the system's allocator.
plain=$(RUSTFLAGS="--cfg fuseboard_plain" program load --profile plain)

mkdir -p target/bench
echo "==> the engine alone" >&2
taskset -c 0,1 "$engine"
echo
echo "==> over gRPC" >&2
taskset -c 1 "$load" suite --fuseboard "$fuseboard" --plain "$plain" --rounds "$rounds" --seconds "$seconds"
