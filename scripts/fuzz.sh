#!/usr/bin/env bash
# Runs every fuzz target of the repository for FUZZTIME (default 10s) each.
set -euo pipefail
cd "$(dirname "$0")/.."

found=0
while IFS=: read -r file line; do
  target=$(sed -E 's/^func (Fuzz[A-Za-z0-9_]+).*/\1/' <<<"$line")
  echo "fuzzing $target in $(dirname "$file")"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "./$(dirname "$file")"
  found=$((found + 1))
done < <(grep -rnE '^func Fuzz' --include='*_test.go' . | grep -v generated_ | sed -E 's/^\.\///; s/:[0-9]+:/:/')
echo "$found fuzz targets ran"
((found > 0))
