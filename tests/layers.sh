#!/bin/sh
# layers -- fails on an include that goes against the arrows of the house:
# fs -> engine <- backends; in the engine cmd -> control -> sync -> store ->
# journal -> base.  Also: no system header in the engine's core that would
# let it reach the machine past struct os.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
complain() { echo "layers: $*" >&2; bad=1; }

rank() {
	case $1 in
	base) echo 0 ;; journal) echo 1 ;; store) echo 2 ;;
	sync) echo 3 ;; control) echo 4 ;; cmd) echo 5 ;; *) echo 9 ;;
	esac
}

for f in $(find engine backends fs -name '*.[ch]'); do
	top=${f%%/*}
	layer=$(echo "$f" | cut -d/ -f2)
	for inc in $(sed -n 's/^#include "\(.*\)"/\1/p' "$f"); do
		dir=${inc%%/*}
		case $inc in
		backends/registry.h)
			case $f in fs/dsyncfs.c | engine/cmd/dsyncfs_sync.c | backends/*) ;;
			*) complain "$f includes $inc: only the two mains may" ;;
			esac ;;
		backends/*)
			case $f in backends/* | fs/dsyncfs.c | engine/cmd/dsyncfs_sync.c) ;;
			*) complain "$f includes $inc" ;;
			esac ;;
		fs/*) [ "$top" = fs ] || complain "$f includes $inc" ;;
		tests/*) complain "$f includes $inc" ;;
		base/* | journal/* | store/* | sync/* | control/* | cmd/*)
			if [ "$top" = engine ] && [ "$(rank "$dir")" -gt "$(rank "$layer")" ]; then
				complain "$f includes $inc: an arrow upwards"
			fi ;;
		esac
	done
	case $f in
	engine/base/* | engine/journal/* | engine/store/* | engine/sync/*)
		if grep -nE '^#include <(unistd|fcntl|dirent|poll|sys/(stat|socket|mman|wait|file|ioctl|uio|un)|netdb|signal|syslog|pwd|grp)\.h>' "$f"; then
			complain "$f: the core makes no system call (struct os does)"
		fi ;;
	fs/view*)
		if grep -nE '^#include <fuse' "$f"; then
			complain "$f: the view has not heard of FUSE"
		fi ;;
	esac
done
[ $bad = 0 ] && echo "layers: every include follows the arrows"
exit $bad
