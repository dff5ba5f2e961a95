#!/bin/sh
# The conformance driver of this client. `make driver` builds it; it is built here where that was forgotten.
set -eu
cd "$(dirname "$0")"
driver=${CARGO_TARGET_DIR:-../../target}/debug/examples/driver
[ -x "$driver" ] || make --silent driver >&2
exec "$driver"
