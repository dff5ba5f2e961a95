#!/usr/bin/env bash
# The driver that clients/conformance/README.md describes.
cd "$(dirname "${BASH_SOURCE[0]}")"
PYTHONPATH=src exec .venv/bin/python -u tests/driver.py
