#!/bin/bash
# list -- which tests run with which sanitizer, and how: "FLAVOUR TEST VARIABLE=VALUE..." for each.
#
#	list.sh short			what `make test` has
#	list.sh all FLAVOUR... TEST...	all of these flavours (asan, tsan, valgrind) and of these tests; without any all of them
#	list.sh left FLAVOUR...		what runs elsewhere, and not with these: "FLAVOUR TEST WHY"
#
# A test is fs/NAME, interop/NAME, sanitize/NAME, judges/NAME (of judges/debian, or one of judges/run.sh).  The file plan says how.
cd "$(dirname "$0")/../.." || exit 1
what=$1
shift
flavours=() tests=()
for w in "$@"; do
	case $w in asan | tsan | valgrind) flavours+=("$w") ;; *) tests+=("$w") ;; esac
done
[ ${#flavours[@]} != 0 ] || flavours=(asan tsan valgrind)
everything() {
	ls tests/fs/*.sh tests/interop/*.sh tests/judges/debian/*.sh tests/sanitize/*.sh | sed 's|^tests/||; s|^judges/debian/|judges/|; s|\.sh$||' |
		grep -vx 'sanitize/lib\|sanitize/list'
	printf 'judges/%s\n' pjdfstest fsx fsstress stress-ng racer maildir-race deliver readers kill9
}
wanted() {
	local t
	[ ${#tests[@]} != 0 ] || return 0
	for t in "${tests[@]}"; do [ "$t" != "$1" ] || return 0; done
	return 1
}
# FLAVOUR TEST: the rest of its line of plan
planned() { sed -n "s|^$1[[:space:]]*$2\([[:space:]].*\)\{0,1\}\$|:\1|p" tests/sanitize/plan | tr -s '\t ' ' '; }

case $what in
short)
	grep -v '^#' tests/sanitize/plan | awk '{ for (i = 3; i <= NF; i++) if ($i == "short") { $i = ""; print; break } }' | tr -s ' ' ;;
all | left)
	for f in "${flavours[@]}"; do
		for t in $(everything); do
			wanted "$t" || continue
			how=$(planned "$f" "$t")
			case $how in
			": not "*) [ $what = all ] || echo "$f $t ${how#: }" ;;
			": slow "*) [ $what = left ] || echo "$f $t ${how#: slow }" ;;
			'') [ $what = left ] && [ $f = valgrind ] && echo "$f $t not chosen: some twenty times slower"
				[ $what = left ] || [ $f = valgrind ] || echo "$f $t" ;;
			*) [ $what = left ] || echo "$f $t" ;;
			esac
		done
	done ;;
*)
	echo "list: short, all or left" >&2
	exit 64 ;;
esac
