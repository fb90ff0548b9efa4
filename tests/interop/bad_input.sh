#!/bin/bash
# bad_input -- what is wrong gets one clear line and its own exit status, and
# loses nothing: locations, configuration, full disks, newer and damaged stores,
# Maildirs with all that a Maildir should not have.
. "$(dirname "$0")/../real.sh"
needs python3 setpriv
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
FAR=$TMP/far

# refused NAME STATUS WORDS COMMAND...: exits so, says one line, and that line has WORDS (a regular expression).
refused() {
	local name=$1 want=$2 words=$3 rc n
	shift 3
	timeout -s KILL 20 "$@" >"$TMP/r.out" 2>"$TMP/r.err" </dev/null
	rc=$? n=$(wc -l <"$TMP/r.err")
	if [ $rc != "$want" ]; then
		report 1 "$name" "exit $rc, not $want: $(cat "$TMP/r.err")"
	elif [ "$n" != 1 ]; then
		report 1 "$name" "$n lines, not one: $(cat "$TMP/r.err")"
	else
		grep -qiE -- "$words" "$TMP/r.err"
		report $? "$name" "does not say /$words/: $(cat "$TMP/r.err")"
	fi
}
# Another user, as words of a command: timeout(1) can run them.
other=(env)
[ "$(id -u)" != 0 ] || other=(setpriv --reuid=65534 --regid=65534 --clear-groups env)
nobody() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi; }
run_dsync() { refused "$1" "$2" "$3" "$SYNC" -o "mail_location=dsyncfs:$STORE" "${@:4}"; }

# ---- locations ----
$MAIL maildir "$FAR" 40
check "a store to begin with" ds mirror "maildir:$FAR"
before=$(ds dump)
run_dsync "LOCATION2 does not exist, nor the directory it is in" 1 "no/where.*(No such|does not exist)" mirror "maildir:$TMP/no/where"
: >"$TMP/afile"
run_dsync "LOCATION2 is a file" 1 "afile" mirror "maildir:$TMP/afile"
run_dsync "LOCATION2 of an unknown kind" 64 "nonsense.*(maildir|known)" mirror "nonsense:$TMP/x"
run_dsync "LOCATION2 without a kind" 64 "maildir:" mirror "$TMP/x/y"
run_dsync "LOCATION2 with an unknown option" 64 "COLOUR" mirror "maildir:$FAR:COLOUR=red"
run_dsync "a host that is not there" 69 "host.invalid.*cannot find" mirror user@host.invalid
run_dsync "an unknown command" 64 "frobnicate" frobnicate
run_dsync "an unknown option" 64 "sideways" --sideways status
run_dsync "an option without its value" 64 "value" mirror -m
refused "a first location that does not exist" 1 "nostore" "$SYNC" -o "mail_location=dsyncfs:$TMP/nostore" dump
refused "mounting on what is no directory" 1 "nomnt" "$MOUNT" "dsyncfs:$STORE" "$TMP/nomnt"
chmod 711 "$TMP"
mkdir "$TMP/secret" && cp -a "$FAR" "$TMP/secret/far" && chmod 700 "$TMP/secret"
mkdir "$TMP/nobody" && chmod 777 "$TMP/nobody"
cp "$SYNC" "$TMP/dsyncfs-sync.copy" && chmod 755 "$TMP/dsyncfs-sync.copy"
refused "LOCATION2 is not readable" 77 "secret.*(Permission denied|may not be read)" "${other[@]}" HOME="$TMP/nobody" XDG_CONFIG_HOME= XDG_DATA_HOME= \
	"$TMP/dsyncfs-sync.copy" -o "mail_location=dsyncfs:$TMP/nobody/store" mirror "maildir:$TMP/secret/far"
refused "the store is another user's" 77 "Permission denied" "${other[@]}" HOME="$TMP/nobody" XDG_CONFIG_HOME= XDG_DATA_HOME= \
	"$TMP/dsyncfs-sync.copy" -o "mail_location=dsyncfs:$STORE" dump

# ---- already owned ----
check "mount" mount_store "$STORE" "$MNT"
mkdir "$TMP/mnt2"
refused "a second mount of the store" 75 "$STORE.*(mounted|in use|owned|busy)" "$MOUNT" "dsyncfs:$STORE" "$TMP/mnt2"
STORE2=$TMP/store2
check "the first still answers" count_is "$MNT" "$(count "$FAR")"
check "another store" "$SYNC" -o "mail_location=dsyncfs:$STORE2" mirror "maildir:$TMP/secret/far"
refused "a mount point that is in use" 1 "mnt" "$MOUNT" "dsyncfs:$STORE2" "$MNT"
check "unmount" umount_store "$STORE" "$MNT"
equal "nothing has changed" "$before" "$(ds dump)"

# ---- configuration ----
printf 'mail_location = dsyncfs:%s\nsyncc = push\n' "$STORE" >"$TMP/a.conf"
refused "an unknown key" 78 "a\.conf:2:? .*syncc" "$SYNC" -c "$TMP/a.conf" status
printf 'mail_location = nonsense:/x\n' >"$TMP/b.conf"
refused "a location of an unknown kind" 78 "b\.conf:1:? .*nonsense" "$SYNC" -c "$TMP/b.conf" status
printf 'mail_location = dsyncfs:%s\nremote x {\n' "$STORE" >"$TMP/c.conf"
refused "a section that is not closed" 78 "c\.conf:2" "$SYNC" -c "$TMP/c.conf" status
printf '\n\n???\n' >"$TMP/d.conf"
refused "a line that is none" 78 "d\.conf:3" "$SYNC" -c "$TMP/d.conf" status
refused "the same for the mount" 78 "d\.conf:3" "$MOUNT" -c "$TMP/d.conf" "$MNT"
refused "no such configuration" 78 "e\.conf.*No such" "$SYNC" -c "$TMP/e.conf" status

# ---- a full disk ----
small() { mkdir -p "$1" && mount -t tmpfs -o "size=$2" dsyncfs-test "$1"; }
if [ "$(id -u)" = 0 ]; then
	check "a small disk" small "$TMP/small" 3m
	mkdir "$TMP/fullmnt"
	check "a store on it is mounted" mount_store "$TMP/small/store" "$TMP/fullmnt"
	# Incompressible mail until the disk is full; then the delivery fails, and says why.
	cat >"$TMP/fill.py" <<'P'
import errno, hashlib, os, random, sys
box = sys.argv[1]
r = random.Random(7)
for i in range(400):
    data = b"Subject: fill%d\n\n" % i + r.randbytes(40000).hex().encode() + b"\n"
    tmp, new = "%s/tmp/f%d" % (box, i), "%s/new/f%d" % (box, i)
    try:
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(tmp, new)
    except OSError as e:
        try:
            os.unlink(tmp)
        except OSError:
            pass
        sys.exit(0 if e.errno in (errno.ENOSPC, errno.EDQUOT) else "errno %d" % e.errno)
    print("f%d" % i, hashlib.sha1(data).hexdigest())
sys.exit("never full")
P
	python3 "$TMP/fill.py" "$TMP/fullmnt" >"$TMP/filled" 2>"$TMP/fill.err"
	report $? "a delivery to a full store fails with ENOSPC" "$(cat "$TMP/fill.err")"
	acked() { (cd "$1/new" && sha1sum -- *) | awk '{print $2, $1}' | sort; }
	equal "what was acknowledged is there" "" "$(comm -23 <(sort "$TMP/filled") <(acked "$TMP/fullmnt"))"
	check "mail can be read" grep -q "Subject: fill0" "$TMP/fullmnt/new/f0"
	check "mail can be deleted from a full store" rm "$TMP/fullmnt/new/f0"
	check "room is made" mount -o remount,size=12m "$TMP/small"
	check "and delivery works again" within 10 deliver_one "$TMP/fullmnt" late.1 late
	check "unmount" umount_store "$TMP/small/store" "$TMP/fullmnt"
	check "the store is whole" "$SYNC" -o "mail_location=dsyncfs:$TMP/small/store" verify
	check "mount again" mount_store "$TMP/small/store" "$TMP/fullmnt"
	equal "all is there after a mount" "" "$(comm -23 <(sort "$TMP/filled" | grep -v '^f0 ') <(acked "$TMP/fullmnt"))"
	check "with the late one" has_mail "$TMP/fullmnt" "Subject: late"
	umount_store "$TMP/small/store" "$TMP/fullmnt"

	check "a small disk for a Maildir" small "$TMP/small2" 1m
	"$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "maildir:$TMP/small2/far" >"$TMP/r.out" 2>"$TMP/r.err"
	rc=$?
	check "a Maildir that is full: the mirror fails" test $rc = 1 -o $rc = 2
	check "and says why" grep -q "No space left" "$TMP/r.err"
	equal "the store is as it was" "$before" "$(ds dump)"
	check "room is made there" mount -o remount,size=30m "$TMP/small2"
	check "the next mirror finishes" eval 'ds mirror "maildir:$TMP/small2/far" || ds mirror "maildir:$TMP/small2/far"'
	check "both are equal" ds verify "maildir:$TMP/small2/far"
	equal "nothing is there twice" "$(ds dump | grep -c sha1=)" \
		"$(find "$TMP/small2/far" -path '*/[cn][ue][rw]/*' -type f | wc -l)"
	check "a small disk for a store" small "$TMP/small3" 1m
	"$SYNC" -o "mail_location=dsyncfs:$TMP/small3/store" mirror "maildir:$FAR" >"$TMP/r.out" 2>"$TMP/r.err"
	rc=$?
	check "a store that is full: the mirror fails" test $rc = 1 -o $rc = 2
	check "and says why" grep -q "No space left" "$TMP/r.err"
	check "room is made there" mount -o remount,size=30m "$TMP/small3"
	check "the next mirror finishes" eval 'for i in 1 2; do "$SYNC" -o "mail_location=dsyncfs:$TMP/small3/store" mirror "maildir:$FAR" && break; done'
	check "both are equal" "$SYNC" -o "mail_location=dsyncfs:$TMP/small3/store" verify "maildir:$FAR"
else
	report 1 "full disks" "this part mounts small tmpfs and has to run as root"
fi

# ---- a store of a newer version, a damaged store ----
python3 - "$STORE" "$TMP/damaged" "$SYNC" "${BAD_BYTES:-240}" >"$TMP/damage.out" 2>&1 <<'P'
# Every file of the store: bytes flipped at sampled places, and cut short.  `dump` and `verify` then either say what the
# undamaged store says, or complain (a line, a status), and never die of a signal; nothing is ever other mail than was there.
import os, random, shutil, subprocess, sys
store, work, sync, samples = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

def run(*cmd):
    r = subprocess.run([sync, "-o", "mail_location=dsyncfs:" + work, *cmd], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    return r.returncode, r.stdout.decode("utf-8", "replace"), r.stderr.decode("utf-8", "replace")

def put():
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(store, work, symlinks=True, ignore=lambda d, names: [n for n in names if not (os.path.isfile(os.path.join(d, n)) or os.path.isdir(os.path.join(d, n)))])

put()
rc, good, err = run("dump")
assert rc == 0, err
lines = set(good.splitlines())
bodies = {l.rsplit("sha1=", 1)[1] for l in lines if "sha1=" in l}
files = sorted(os.path.relpath(os.path.join(d, f), store) for d, _, fs in os.walk(store) for f in fs if os.path.isfile(os.path.join(d, f)))
files = [f for f in files if os.path.getsize(os.path.join(store, f)) > 0]
r = random.Random(5)
cases = []
for f in files:
    n = os.path.getsize(os.path.join(store, f))
    share = max(6, samples // len(files))
    places = {0, n - 1} | {r.randrange(min(n, 64)) for _ in range(share // 4)} | {r.randrange(n) for _ in range(share)}
    cases += [(f, "flip", p) for p in sorted(places)][:share]
    cases += [(f, "cut", p) for p in sorted({0, n // 2, n - 1})]
bad, silent = 0, {}

def wrong(case, what):
    global bad
    bad += 1
    print("WRONG %s %s at %d: %s" % (case[0], case[1], case[2], what))

for case in cases:
    f, how, p = case
    put()
    path = os.path.join(work, f)
    data = bytearray(open(path, "rb").read())
    if how == "flip":
        data[p] ^= 1 << r.randrange(8)
    else:
        del data[p:]
    with open(path, "wb") as o:
        o.write(data)
    try:
        rc, out, err = run("dump")
        vrc, vout, verr = run("verify")
    except subprocess.TimeoutExpired:
        wrong(case, "hangs")
        continue
    if rc < 0 or vrc < 0 or rc > 128 or vrc > 128:
        wrong(case, "dies: dump %d, verify %d" % (rc, vrc))
    elif rc == 0 and out != good and not err:
        wrong(case, "says something else without a word")
    elif rc != 0 and not err:
        wrong(case, "exit %d without a word" % rc)
    elif vrc != 0 and not verr and "0 problems" in vout:
        wrong(case, "verify: exit %d without a word" % vrc)
    elif {l.rsplit("sha1=", 1)[1] for l in out.splitlines() if "sha1=" in l} - bodies - {"", "?"}:
        wrong(case, "shows mail that never was")
    if rc == 0 and vrc == 0 and out == good:
        silent[f] = silent.get(f, 0) + 1
print("%d cases over %d files, %d wrong; it cost nothing in %s" % (len(cases), len(files), bad, silent))
sys.exit(bad != 0)
P
report $? "damage: a flipped or missing byte is said, never served" "$(grep -m 15 -v '^$' "$TMP/damage.out"; tail -n 2 "$TMP/damage.out")"
tail -n 1 "$TMP/damage.out" | sed 's/^/     /'

# ---- Maildirs with all that a Maildir should not have ----
BAD=$TMP/bad NEW=$TMP/newstore
bad_mirror() { "$SYNC" -o "mail_location=dsyncfs:$NEW" mirror "maildir:$BAD" >"$TMP/r.out" 2>"$TMP/r.err"; }
fresh() { rm -rf "$BAD" "$NEW"; mkdir -p "$BAD"/{cur,new,tmp}; $MAIL deliver "$BAD" 5 good; }
dump_new() { "$SYNC" -o "mail_location=dsyncfs:$NEW" dump; }
# NAME MAILS STATUS...: the mirror ends with one of the statuses, and MAILS are in the store
taken() {
	local name=$1 mails=$2 rc
	bad_mirror; rc=$?
	case " $3 " in *" $rc "*) report 0 "$name: exit $rc" ;; *) report 1 "$name" "exit $rc, not $3: $(cat "$TMP/r.err")" ;; esac
	equal "$name: the mail is there" "$mails" "$(dump_new | grep -c sha1=)"
	[ $rc = 0 ] || check "$name: it is said" test -s "$TMP/r.err"
	bad_mirror; rc=$?
	case " $3 " in *" $rc "*) ;; *) report 1 "$name: again" "exit $rc: $(cat "$TMP/r.err")" ;; esac
	equal "$name: not twice" "$mails" "$(dump_new | grep -c sha1=)"
}
fresh; printf '3 V17 N3 Gnonsense\nx y z\n1 :a\n1 :b\n' >"$BAD/dovecot-uidlist"
taken "a broken uidlist" 5 "0 2"
fresh; head -c 300 /dev/urandom >"$BAD/dovecot-uidlist"
taken "a uidlist of noise" 5 "0 2"
fresh; f=$(ls "$BAD/new" | head -1); cp "$BAD/new/$f" "$BAD/cur/$f:2,S"; echo more >>"$BAD/cur/$f:2,S"
taken "two files with one base name" 6 "0 2"
fresh; mkdir -p "$BAD/cur/adir/sub" "$BAD/new/1700000000.dir:2,S"; echo x >"$BAD/cur/adir/file"
taken "directories in cur and new" 5 "0 2"
check "they are left alone" test -f "$BAD/cur/adir/file"
fresh; ln -s /etc/passwd "$BAD/cur/1700000001.link:2,S"; mkfifo "$BAD/new/1700000002.fifo"
taken "a symbolic link and a fifo" 5 "0 2"
check "nothing was read through the link" not grep -q "size=$(stat -c %s /etc/passwd) " <(dump_new)
fresh; n=1700000003.$(printf 'x%.0s' {1..240}); $MAIL one long >"$BAD/new/${n:0:255}"
taken "a name of 255 bytes" 6 "0"
fresh; $MAIL one eight >"$BAD/new/$(printf '1700000004.\xe5\xff\x01bit')"; $MAIL one space >"$BAD/cur/1700000005.a b:2,S"
taken "8-bit names, control characters, blanks" 7 "0"
fresh; $MAIL one doubled >"$BAD/cur/1700000006.M1.x:2,S:2,FS"; $MAIL one odd >"$BAD/cur/1700000007.M1.x:3,S"
$MAIL one unknown >"$BAD/cur/1700000008.M1.x:2,SXYZ"; $MAIL one none >"$BAD/cur/1700000009.M1.x"
taken "':2,' doubled, other infos, unknown letters" 9 "0 2"
fresh; $MAIL one lying >"$BAD/cur/1700000010.M1.x,S=99999,W=1:2,S"
taken "a size in the name that lies" 6 "0 2"
fresh; : >"$BAD/new/1700000011.empty"; printf '\n' >"$BAD/new/1700000012.newline"; printf '\0\0\r\0' >"$BAD/new/1700000013.nul"
taken "empty mail, a newline, NULs" 8 "0"
fresh; mkdir -p "$BAD/..odd/cur" "$BAD/.a..b/cur" "$BAD/.&&&/cur" "$BAD/.$(printf '\xff')/cur"
taken "folder names that are none" 5 "0 2"
fresh; printf '0 ok\n0 twice\n99 far\nx\n' >"$BAD/dovecot-keywords"; mv "$BAD/new/$f" "$BAD/cur/$f:2,abz" 2>/dev/null
taken "a broken keywords file" 5 "0 2"
# Unreadable: as an ordinary user, since root reads all.
chmod 755 "$TMP"
N=$TMP/nobody
cp -r "$FAR" "$N/far"; f=$(messages "$N/far" | head -1); total=$(find "$N/far" -path '*/[cn][ue][rw]/*' -type f | wc -l)
[ "$(id -u)" != 0 ] || chown -R 65534:65534 "$N"
chmod 000 "$f"
as_nobody() { nobody env HOME="$N" XDG_CONFIG_HOME= XDG_DATA_HOME= "$TMP/dsyncfs-sync.copy" -o "mail_location=dsyncfs:$N/store3" "$@"; }
check_status "an unreadable message: exit 2" 2 as_nobody mirror "maildir:$N/far"
said=$(as_nobody mirror "maildir:$N/far" 2>&1)
check "it is named" grep -qF "$(basename "${f%%:2,*}")" <(echo "$said")
equal "the rest is there" $((total - 1)) "$(as_nobody dump | grep -c sha1=)"
chmod 600 "$f"
check "when it is readable again" as_nobody mirror "maildir:$N/far"
equal "all is there" "$total" "$(as_nobody dump | grep -c sha1=)"

# A store of a newer version, with checksums that are right: its "store" file, its log, its bodies.
newer() {	# DIR KIND
	python3 - "$1" "$2" <<'P'
import ctypes, os, sys
lib = ctypes.CDLL("libxxhash.so.0")
lib.XXH3_64bits.restype = ctypes.c_uint64
xxh3 = lambda b: lib.XXH3_64bits(bytes(b), ctypes.c_size_t(len(b)))
top, kind = sys.argv[1:]
hit = 0
for d, _, fs in os.walk(top):
    for f in fs:
        p = os.path.join(d, f)
        if not os.path.isfile(p):
            continue
        b = bytearray(open(p, "rb").read())
        if kind == "store" and b.startswith(b"dsyncfs store 1\n"):
            b[14:15] = b"2"
            b = b[:-22] + b"xxh3 %016x\n" % xxh3(b[:-22])
        elif kind == "log" and b.startswith(b"DSFSLOG"):
            b[7] = 2
            b[32:40] = xxh3(b[:32]).to_bytes(8, "little")
        elif kind == "pack" and b.startswith(b"DSFPACK"):
            b[7] = 3
            b[16:24] = xxh3(b[:12] + b"\0" + b[13:16]).to_bytes(8, "little")
        else:
            continue
        open(p, "wb").write(b)
        hit += 1
sys.exit(hit == 0)
P
}
for kind in store log pack; do
	rm -rf "$TMP/newer"; cp -a "$STORE" "$TMP/newer"
	check "a store with a newer $kind" newer "$TMP/newer" $kind
	sum=$(cd "$TMP/newer" && find . -type f ! -name lock -exec sha1sum {} + | sort)
	refused "a newer $kind is refused" 1 "version|newer" "$SYNC" -o "mail_location=dsyncfs:$TMP/newer" dump
	refused "a newer $kind is not synced" 1 "version|newer" "$SYNC" -o "mail_location=dsyncfs:$TMP/newer" mirror "maildir:$TMP/newer.far"
	[ $kind = pack ] || refused "a newer $kind is not mounted" 1 "version|newer" "$MOUNT" "dsyncfs:$TMP/newer" "$TMP/mnt2"
	mountpoint -q "$TMP/mnt2" && fusermount3 -u "$TMP/mnt2"
	equal "a newer $kind is left as it was" "$sum" "$(cd "$TMP/newer" && find . -type f ! -name lock -exec sha1sum {} + | sort)"
done
equal "after all that the first store is as it was" "$before" "$(ds dump)"
check "and whole" ds verify
finish
