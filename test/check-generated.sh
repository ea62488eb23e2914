#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Generates into the tree of a throw-away clone of the working files and compares: the checkout itself is not touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -cf - | tar -xf - -C "$tmp"
make -s -C "$tmp" generate
changed=$(git ls-files -z --cached --others --exclude-standard | xargs -0 -I{} sh -c 'cmp -s "$1" "$2/$1" || echo "$1"' _ {} "$tmp")
if [ -n "$changed" ]; then
  printf 'check-generated: these files are stale, run "make generate" and commit:\n%s\n' "$changed" >&2
  exit 1
fi
echo "check-generated: current"
