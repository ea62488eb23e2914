#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the programs of this folder against fakellm with nothing of ours between them, each stack in network and mount
# namespaces of its own: what they print here is what they must print when they are intercepted. Needs root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)

die() { echo "check: $*" >&2; exit 1; }

if [ "${1:-}" != inside ]; then
  [ "$(id -u)" = 0 ] || die "makes namespaces and needs root: run it with sudo"
  "$here/make-venv.sh"
  mkdir -p "$root/build"
  (cd "$root" && CGO_ENABLED=0 go build -o build/fakellm ./test/fakellm/cmd/fakellm)
  for name in current 0.3; do unshare -m -n --propagation private "$0" inside "$name"; done
  exit 0
fi

name=$2 address=198.51.100.10 # RFC 5737
venv=$root/build/venv-$name
dir=$(mktemp -d)
fake=
trap '[ -z "$fake" ] || { kill "$fake"; wait "$fake" || true; }; rm -rf "$dir"' EXIT
ip link set lo up
ip address add $address/32 dev lo
"$root/build/fakellm" -listen $address:443 -dir "$dir/fake" -pace 5ms >"$dir/ready" 2>"$dir/errors" &
fake=$!
for _ in $(seq 100); do grep -q listening "$dir/ready" && break; kill -0 $fake 2>/dev/null || die "$(cat "$dir/errors")"; sleep 0.1; done

# The name and the two CA stores, as this namespace sees them.
echo "$address api.openai.com" >"$dir/hosts"
mount --bind "$dir/hosts" /etc/hosts
for store in /etc/ssl/certs/ca-certificates.crt "$("$venv/bin/python" -m certifi)"; do
  copy=$dir/$(echo "$store" | tr / _)
  cat "$store" "$dir/fake/ca.pem" >"$copy"
  mount --bind "$copy" "$store"
done

say() { env -i OPENAI_API_KEY=not-a-key "$venv/bin/python" "$here/$1" "${@:2}"; }
want() { # what is wanted, as a pattern; program; arguments
  local got
  got=$(say "${@:2}" 2>&1) || true
  printf '%s: %s\n' "$name" "${*:2}" && sed 's/^/  /' <<<"$got"
  grep -Eqz -- "$1" <<<"$got" || die "$name: ${*:2}: wanted $1"
}
want '^This is a short answer' plain.py Hello
want 'PermissionDenied|NotFound' plain.py Hello no-such-model
want 'jane\.doe@example\.com.*first token: [0-9.]+ ms' stream.py 'leak a key'
want 'call: search .*result: search 3 pages about x.*answer: The tool answered' agent.py 'use tool search with {"query":"x"}'
want 'ran delete_files on /srv.*call: search .*call: delete_files .*answer: ' agent.py --stream 'two tools: use tool search and use tool delete_files with {"path":"/srv"}'
want 'a: 1536 dimensions.*b: 1536' embed.py a b
want 'Error' stream.py 'reset, say: some words that are never finished'
[ "$(wc -l <"$dir/fake/requests.jsonl")" = 9 ] || die "$name: 9 requests were made, the log has $(wc -l <"$dir/fake/requests.jsonl")"
echo "$name: all as wanted"
