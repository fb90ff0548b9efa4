#!/bin/bash
# fio -- writes with checksums and reads them again: many small files, one large one at odd offsets, an appended one, a mapped one.
. "$(dirname "$0")/../lib.sh"
needs fio python3
cat >"$TMP/jobs" <<'J'
[global]
ioengine=psync
verify=crc32c
verify_fatal=1
verify_state_save=0
fallocate=none
group_reporting

[small]
rw=randwrite
nrfiles=200
filesize=1k-32k
bs=512
openfiles=32
numjobs=2
fsync=32

[large]
stonewall
rw=randwrite
size=16m
bsrange=1k-128k
bs_unaligned=1
end_fsync=1

[append]
stonewall
rw=write
size=2m
bs=777
fsync=100

[mapped]
stonewall
ioengine=mmap
rw=randwrite
size=8m
bs=4k
J
# Of each group: its error, and how much it wrote and read.
results() {
	python3 - "$1" <<'P'
import json, sys
text = open(sys.argv[1]).read()
for j in json.loads(text[text.index("{"):])["jobs"]:
    print(j["jobname"], j["error"], j["write"]["io_bytes"] > 0, j["write"]["io_bytes"] == j["read"]["io_bytes"])
P
}
run() {
	check "fio succeeds" show_said timeout "$HANG" fio --directory="$DIR" --output="$TMP/result" --output-format=json "$TMP/jobs"
	equal "all that was written is read, and is right" \
		"$(printf '%s 0 True True\n' small large append mapped)" "$(results "$TMP/result")"
}
both run
finish
