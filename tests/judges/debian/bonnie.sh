#!/bin/bash
# bonnie -- bonnie++: one large file with its own check of what it reads, and thousands of names made, looked at and removed.
. "$(dirname "$0")/../lib.sh"
needs bonnie++
who=()
[ "$(id -u)" != 0 ] || who=(-u 0:0)
run() {
	check "bonnie++ succeeds" show_said timeout "$HANG" bonnie++ -d "$DIR" -f -r 8 -s 24 -n 1:8192:512:4 -m judge "${who[@]}"
	check "it has no complaint" no_complaint error "can't" bad drastic
	check "and nothing is left" empty "$DIR"
}
both run
finish
