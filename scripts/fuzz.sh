#!/usr/bin/env bash
# Runs every fuzz target of the repository, in whichever of its modules, for FUZZTIME (default 10s) each.
set -euo pipefail
cd "$(dirname "$0")/.."

found=0
while read -r file target; do
  package=$(dirname "$file")
  module=$package
  while [[ ! -f $module/go.mod ]]; do module=$(dirname "$module"); done
  echo "fuzzing $target in $package"
  go -C "$module" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "./$(realpath --relative-to="$module" "$package")"
  found=$((found + 1))
done < <(git grep -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed -E 's/:func / /')
echo "$found fuzz targets ran"
((found > 0))
