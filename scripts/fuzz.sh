#!/usr/bin/env bash
# Runs every fuzz target of the repository, in whichever of its modules, for FUZZTIME (default 10s) each.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
found=0
while read -r file target; do
  package=$(dirname "$file")
  module=$package
  while [[ ! -f $module/go.mod ]]; do module=$(dirname "$module"); done
  echo "fuzzing $target in $package"
  # The go command reports its own deadline as a failure when it strikes amid an execution; a finding names its input.
  if ! go -C "$module" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "./$(realpath --relative-to="$module" "$package")" 2>&1 | tee "$log"; then
    if grep -q 'Failing input written' "$log" || ! grep -q 'context deadline exceeded' "$log"; then
      exit 1
    fi
  fi
  found=$((found + 1))
done < <(git grep -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed -E 's/:func / /')
echo "$found fuzz targets ran"
((found > 0))
