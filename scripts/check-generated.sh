#!/usr/bin/env bash
# Fails when committed generated code differs from what `make generate` makes. Leaves the fresh output in place.
set -euo pipefail
cd "$(dirname "$0")/.."

# Everything git knows or would add, by content: works on a dirty tree too.
snapshot() { git ls-files -z --cached --others --exclude-standard | xargs -0 sha256sum 2>/dev/null | sort -k2; }

before=$(snapshot)
make --no-print-directory generate
if ! diff <(printf '%s\n' "$before") <(snapshot); then
  echo 'generated code was stale: it has been regenerated, review and commit it' >&2
  exit 1
fi
echo 'generated code is current'
