#!/usr/bin/env bash
# Half an hour of everything at once on the release binary. `make campaign` builds the binary and calls it.
#
# CAMPAIGN_SECONDS makes it shorter; FUSEBOARD_BIN names another binary.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=$(cargo build --locked --test campaign --message-format json |
    sed -n 's|.*"executable":"\([^"]*/deps/campaign-[^"]*\)".*|\1|p')
if [[ -z "${FUSEBOARD_BIN:-}" ]]; then
    cargo build --locked --release
    FUSEBOARD_BIN=${CARGO_TARGET_DIR:-target}/release/fuseboard
fi
export FUSEBOARD_BIN
exec "$program"
