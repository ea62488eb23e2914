#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All that CI runs, in the order in which failures are cheapest to find, with the time that each part took.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ "$(id -u)" = 0 ] || { echo "make test includes kernel tests and needs root: sudo make test (or: make test-unit)" >&2; exit 1; }
start=$SECONDS
for part in deps build lint check-generated test-unit test-race fuzz test-root test-e2e; do
  t=$SECONDS
  printf '== %s\n' "$part"
  make -s "$part"
  printf '== %s: ok, %d s (%d s in all)\n' "$part" $((SECONDS - t)) $((SECONDS - start))
done
