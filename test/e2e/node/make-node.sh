#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs LangChain's clients for Node into build/node-clients, anew when their list changes, and puts the programs beside them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
node=$(cd "$here/../../.." && pwd)/build/node-clients

command -v npm >/dev/null || { echo "make-node: npm is missing: make deps installs it" >&2; exit 1; }
stamp=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum | cut -c1-64)
if [ "$(cat "$node/.stamp" 2>/dev/null)" != "$stamp" ]; then
  echo "make-node: installing the clients for Node into $node"
  rm -rf "$node"; mkdir -p "$node"
  cp "$here/package.json" "$here/package-lock.json" "$node/"
  npm ci --prefix "$node" --omit=dev --no-audit --no-fund --loglevel=error
  echo "$stamp" > "$node/.stamp"
fi
cp "$here"/*.mjs "$node/"
