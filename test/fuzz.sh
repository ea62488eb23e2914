#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target of the tree, one after the other, FUZZTIME each.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
n=0
while IFS=: read -r file target; do
  dir=$(dirname "$file")
  printf 'fuzz %s %s %s\n' "${FUZZTIME:-20s}" "./$dir" "$target"
  for try in 1 2 3; do
    out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 10x "./$dir" 2>&1) && break
    # The fuzzer itself sometimes takes the end of its time for a failure (go.dev/issue/75804): no input is named then.
    if [ "$try" = 3 ] || grep -q 'Failing input written' <<<"$out" || ! grep -q '^ *context deadline exceeded$' <<<"$out"; then
      printf '%s\n' "$out" >&2
      exit 1
    fi
    echo "fuzz: $target ended with its time and named no input: again"
  done
  n=$((n + 1))
done < <(grep -rnoE --include='*_test.go' 'func Fuzz[A-Za-z0-9_]+' agent bpf cmd pipeline test/masking tlsca | sed -E 's/^([^:]+):[0-9]+:func (.*)$/\1:\2/' | sort)
[ "$n" -gt 0 ] || { echo "fuzz: no target found" >&2; exit 1; }
echo "fuzz: $n targets, no failure"
