#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures masking beside gitleaks on the same texts, on one core; writes build/bench/masking.md. Arguments go to test/masking/bench.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p build/bench
go build -o build/maskbench ./test/masking/bench
peer=()
if (cd test/masking/gitleaks && go build -o ../../../build/gitleaksbench .); then
  peer=(-gitleaks build/gitleaksbench)
else
  echo "bench: gitleaks cannot be built here, it is left out" >&2
fi
{
  printf '%s, %s, one of %s cores, %s, load average at the start %s\n\n' "$(date -u +%F)" "$(uname -r)" "$(nproc)" "$(go version | cut -d' ' -f3)" "$(cut -d' ' -f1-3 /proc/loadavg)"
  build/maskbench "${peer[@]}" "$@"
} | tee build/bench/masking.md
