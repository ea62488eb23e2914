#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs every client of the coverage table into build/, runs them all and writes the table of docs/coverage.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" = 0 ] || { echo "coverage needs root: sudo make coverage" >&2; exit 1; }
test/e2e/python/make-venv.sh current 0.3 providers anthropic-0.3

test/e2e/node/make-node.sh

CGO_ENABLED=0 GOWORK=off "${GO:-go}" build -C test/e2e/langchaingo -o "$PWD/build/langchaingo" .

COVERAGE=docs/coverage.md "${GO:-go}" test -count=1 -timeout 40m -tags root,e2e -run '^TestCoverage$' ./test/e2e
echo "coverage: the table in docs/coverage.md is current"
