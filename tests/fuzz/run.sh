#!/bin/sh
# run -- fuzzes targets for some seconds each, from the seeds kept in the
# repository; what is found on the way stays in build/.
# usage: run.sh BUILD-DIR SECONDS NAME...
set -u
dir=$1 secs=$2
shift 2
here=$(dirname "$0")
for name in "$@"; do
	[ -d "$here/corpus/$name" ] || {
		echo "fuzz: $name has no seeds in $here/corpus/$name" >&2
		exit 1
	}
	mkdir -p "$dir/corpus/$name" "$dir/crashes"
	echo "== $name, $secs s"
	"$dir/fuzz_$name" -max_total_time="$secs" -timeout=20 -rss_limit_mb=2048 \
		-artifact_prefix="$dir/crashes/$name-" -print_final_stats=1 \
		"$dir/corpus/$name" "$here/corpus/$name" || exit 1
done
