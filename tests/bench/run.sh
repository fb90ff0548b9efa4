#!/bin/bash
# run -- the benchmarks; figures are for reading, nothing here passes or fails
# by time.  BENCH_SHORT=1: small sizes, to see that they run.
set -eu
here=$(dirname "$0")
bin=$(cd "$1" && pwd)
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/dsyncfs-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
messages=${BENCH_MESSAGES:-1000000}
[ -z "${BENCH_SHORT:-}" ] || messages=20000
echo "== store, $messages messages"
"$bin/tests/bench/bench_store" "$dir" "$messages"
for b in "$here"/bench_*.sh; do
	[ -e "$b" ] || continue
	echo "== $(basename "$b" .sh)"
	"$b" "$bin"
done
