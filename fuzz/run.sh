#!/usr/bin/env bash
# Fuzzes for FUZZ_SECONDS (default 60), shared by the targets. What breaks one is left in fuzz/artifacts. See README.md.
set -euo pipefail
cd "$(dirname "$0")"

targets=(tokens requests)
seconds=$(( ${FUZZ_SECONDS:-60} / ${#targets[@]} ))
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
host=$(rustc -vV | sed -n 's/^host: //p')

# What libFuzzer wants to be told while a program runs. These are LLVM's own switches, and stable ones of rustc's.
# With --target they are for the targets alone, not for build scripts.
coverage="-Cpasses=sancov-module -Ccodegen-units=1"
for argument in level=4 inline-8bit-counters pc-table trace-compares; do
	coverage+=" -Cllvm-args=-sanitizer-coverage-$argument"
done
# The server's own versions; cargo adds what is libFuzzer's.
cp ../Cargo.lock Cargo.lock
RUSTFLAGS="${RUSTFLAGS:-} $coverage" cargo build --quiet --release --target "$host"
bin=$CARGO_TARGET_DIR/$host/release

for target in "${targets[@]}"; do
	echo "==> fuzzing $target for $seconds s"
	mkdir -p "corpus/$target" artifacts
	# What it would like to have been told beforehand is of no use to us.
	FUZZ_SEEDS=corpus/$target "$bin/$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
		-print_final_stats=1 -verbosity=0 -artifact_prefix="artifacts/$target-" "corpus/$target" 2>&1 |
		sed '/^###### Recommended/,/^###### End/d'
done
