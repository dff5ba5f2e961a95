#!/usr/bin/env bash
# The driver that clients/conformance/README.md describes.
cd "$(dirname "${BASH_SOURCE[0]}")"
exec node build/all/test/driver.js
