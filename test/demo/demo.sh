#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and runs the demo. LIVE=1 with OPENAI_API_KEY uses the real endpoint; ES=0 leaves
# Elasticsearch out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" = 0 ] || { echo "the demo redirects connections in the kernel and needs root: sudo make demo" >&2; exit 1; }
make -s deps build
test/e2e/python/make-venv.sh current
go build -o build/demo ./test/demo
exec build/demo -bin build -dir build/demo-run -es="$([ "${ES:-1}" = 0 ] && echo false || echo true)" -live="$([ "${LIVE:-0}" = 1 ] && echo true || echo false)"
