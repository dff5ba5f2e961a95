#!/usr/bin/env bash
# The systemd unit, as systemd reads it. Its program need not be installed here.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v systemd-analyze > /dev/null || { echo "systemd-analyze is needed: it comes with systemd" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed 's#/usr/bin/fuseboard#/bin/true#' deploy/systemd/fuseboard.service > "$folder/fuseboard.service"
told=$(systemd-analyze verify --man=no "$folder/fuseboard.service" 2>&1 | grep fuseboard.service || true)
test -z "$told" || { echo "$told" >&2; exit 1; }
echo "==> systemd takes the unit"
