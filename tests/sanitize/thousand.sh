#!/bin/bash
# thousand -- syncs of 1,000 messages by programs that are looked at: with a Maildir and with a dsync-server, the first one and one that
# brings changes of both sides.
. "$(dirname "$0")/../real.sh"
needs python3
case ${FLAVOUR:-} in asan | tsan | valgrind) ;; *) echo "FAIL: FLAVOUR is to be asan, tsan or valgrind"; exit 1 ;; esac
MD=$TMP/Maildir FAR=$TMP/far
FAR_COMMAND=(sh -c "exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=dsyncfs:$FAR dsync-server")
maildir_new "$MD"
maildir_new "$MD/.Work"
maildir_new "$MD/.Work.Old"
cat >"$TMP/fill.py" <<'P'
import random, sys
md, first, n, r = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), random.Random(1)
for i in range(first, first + n):
    box = md + ("", "/.Work", "/.Work.Old")[i % 3]
    where = "cur/%d.M%d.t:2,%s" if i % 2 else "new/%d.M%d.t%s"
    with open(box + "/" + where % (1700000000 + i, i, "".join(sorted(r.sample("FRST", 2))) if i % 2 else ""), "w") as f:
        f.write("From: a@example.org\nMessage-ID: <%d@test>\nSubject: %d\n\n" % (i, i))
        f.write("".join("%x\n" % r.getrandbits(160) for _ in range(r.choice((1, 20, 300)))))
P
fill() { python3 "$TMP/fill.py" "$MD" "$@"; }
alike() { equal "$1" "$(dump "maildir:$MD")" "$(dump "dsyncfs:$STORE")"; equal "$1, far away too" "$(dump "dsyncfs:$STORE")" "$(dump "dsyncfs:$FAR")"; }

fill 0 1000
check "a first sync with a Maildir" ds mirror "maildir:$MD"
check "one with a dsync-server" ds mirror "${FAR_COMMAND[@]}"
alike "both have the same"
equal "all of it" 1000 "$(ds dump | grep -c sha1=)"
fill 1000 50
for f in $(ls "$MD/cur" | head -100); do mv "$MD/cur/$f" "$MD/cur/${f%:*}:2,DS"; done
ls -d "$MD"/.Work/cur/* | head -50 | xargs rm
check "flags at the other end" "$SYNC" -o "mail_location=dsyncfs:$FAR" mirror "maildir:$TMP/third"
for f in $(ls "$TMP/third/.Work.Old/cur" | head -50); do mv "$TMP/third/.Work.Old/cur/$f" "$TMP/third/.Work.Old/cur/${f%:*}:2,F"; done
check "come there" "$SYNC" -o "mail_location=dsyncfs:$FAR" mirror "maildir:$TMP/third"
check "a sync brings changes" again ds mirror "maildir:$MD"
check "and takes them on" again ds mirror "${FAR_COMMAND[@]}"
check "and back" again ds mirror "maildir:$MD"
alike "both have the same"
check "verify" ds verify
check "compact" ds compact
check "verify of what it leaves" ds verify
finish
