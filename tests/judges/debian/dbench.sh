#!/bin/bash
# dbench -- the operations of a file server's clients, three at once.
. "$(dirname "$0")/../lib.sh"
needs dbench
run() {
	check "dbench succeeds" show_said timeout "$HANG" dbench -D "$DIR" -t 5 3
	check "it says how much it did" grep -qE '^Throughput [1-9]' "$SAID"
	check "and has no complaint" no_complaint '^\[.*failed' ERROR
}
both run
finish
