#!/bin/bash
# lint -- what a machine can say about the house style: sizes, man pages,
# and that the example configuration is the one the program writes.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
complain() { echo "lint: $*" >&2; bad=1; }
files=$(find engine fs backends tests -name '*.c' -o -name '*.h' | sort)

for f in $files; do
	[ -f "$f" ] || continue
	case $f in
	tests/*) ;;
	*.c) n=$(wc -l <"$f"); [ "$n" -le 800 ] || complain "$f: $n lines, 800 at most" ;;
	esac
	sed -n 2p "$f" | grep -q '^ \* [a-z0-9_]* -- ' ||
		sed -n 1p "$f" | grep -q '^/\* [a-z0-9_]* -- ' ||
		complain "$f: does not begin with 'name -- what it is.'"
done
long=$(ctags -L <(printf '%s\n' $files | grep '\.c$' | grep -v ^tests/) -f - --c-kinds=f --fields=+ne |
	awk -F'\t' '{s=0;e=0;for(i=4;i<=NF;i++){if($i~/^line:/)s=substr($i,6);if($i~/^end:/)e=substr($i,5)}
		if(e-s+1>100)print $2 ": " $1 " has " e-s+1 " lines, 100 at most"}')
[ -z "$long" ] || complain "$long"
for m in man/*.[0-9]; do
	out=$(mandoc -Tlint -W warning "$m") || complain "$out"
done
build/release/dsyncfs-sync init-config - 2>/dev/null | cmp -s - contrib/dsyncfs.conf.example ||
	complain "contrib/dsyncfs.conf.example is not what init-config writes"
grep -q "^VERSION = $(sed -n '1s/.*(\(.*\)).*/\1/p' contrib/debian/changelog)\$" Makefile ||
	complain "contrib/debian/changelog has another version than the Makefile"
if grep -rnE 'TODO|FIXME' engine fs backends contrib man; then
	complain "unfinished work in the tree"
fi
[ $bad = 0 ] && echo "lint: nothing to say"
exit $bad
