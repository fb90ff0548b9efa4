#!/bin/bash
# many -- 32 processes in one folder at once: they deliver (rename, link), change flags, move to another folder and back, delete, list, stat
# and read, while syncs run.  Nothing is lost or doubled, no reader sees half a mail, nothing hangs.
#
#	ROUNDS	seconds' worth of work: mails per deliverer and tries of the others (default 80)
#	SEED	of what each of them does (default 1)
. "$(dirname "$0")/../real.sh"
needs python3
ROUNDS=${ROUNDS:-80} SEED=${SEED:-1}
echo "ROUNDS=$ROUNDS SEED=$SEED"
cat >"$TMP/many.py" <<'P'
import errno, hashlib, os, random, re, sys, time
box, other, ledger, kind, number, rounds, seed = sys.argv[1:6] + [int(sys.argv[6]), sys.argv[7]]
r = random.Random("%s:%s:%s" % (seed, kind, number))
log = open("%s/%s.%s" % (ledger, kind, number), "w", buffering=1)
GONE = errno.ENOENT

def mail(i):
    body = "".join("%x\n" % r.getrandbits(200) for _ in range(r.choice([1, 5, 50, 400])))
    return ("From: a@example.org\nSubject: %s\nX-Sum: %s\n\n" % (i, hashlib.sha1(body.encode()).hexdigest()) + body).encode()

def whole(data):
    head, _, body = data.partition(b"\n\n")
    return b"X-Sum: " + hashlib.sha1(body).hexdigest().encode() in head

def names(d):
    return [s + "/" + f for s in ("new", "cur") for f in os.listdir(d + "/" + s)]

def base(p):
    return p.split("/")[1].split(":")[0]

def deliver():
    for n in range(rounds):
        i = "1700000000.M%dP%s.many" % (n, number)
        data, tmp = mail(i), box + "/tmp/" + i
        f = os.open(tmp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        step = max(1, len(data) // r.choice([1, 3, 40]))
        for o in range(0, len(data), step):
            os.write(f, data[o:o + step])
        if n % 5 == 0:
            os.fsync(f)
        os.close(f)
        if int(number) % 2:
            os.link(tmp, box + "/new/" + i)
            os.unlink(tmp)
        else:
            os.rename(tmp, box + "/new/" + i)
        print(i, file=log)

def flag():
    for _ in range(rounds):
        have = names(box)
        for p in r.sample(have, min(10, len(have))):
            to = "cur/%s:2,%s" % (base(p), "".join(sorted(r.sample("DFPRST", r.randrange(4)))))
            try:
                os.rename(box + "/" + p, box + "/" + to)
            except OSError as e:
                if e.errno != GONE:
                    raise

def move():
    a, b = (box, other) if int(number) % 2 else (other, box)
    for _ in range(rounds):
        have = names(a)
        for p in r.sample(have, min(4, len(have))):
            try:
                os.rename(a + "/" + p, b + "/" + p)
            except OSError as e:
                if e.errno != GONE:
                    raise

def delete():
    for _ in range(rounds):
        have = names(box)
        for p in r.sample(have, min(1, len(have))):
            try:
                os.unlink(box + "/" + p)
                print(base(p), file=log)
            except OSError as e:
                if e.errno != GONE:
                    raise

def scan():
    half = looks = 0
    for _ in range(rounds):
        have = names(box) + ["../" + os.path.basename(other) + "/" + p for p in names(other)]
        for p in r.sample(have, min(40, len(have))):
            try:
                st = os.stat(box + "/" + p)
                with open(box + "/" + p, "rb") as f:
                    data = f.read()
            except OSError as e:
                if e.errno != GONE:
                    raise
                continue
            looks += 1
            if not whole(data) or st.st_size != len(data):
                half += 1
                print(p, st.st_size, len(data), file=log)
    print("looked at", looks)
    sys.exit(1 if half else 0)

# On a plain file system the others would have ended before there is anything.
while kind != "deliver" and not names(box) + names(other):
    time.sleep(0.001)
{"deliver": deliver, "flag": flag, "move": move, "delete": delete, "scan": scan}[kind]()
P

# What the ledgers say against what is there.
cat >"$TMP/judge.py" <<'P'
import glob, hashlib, os, re, sys
ledger, dirs = sys.argv[1], sys.argv[2:]
read = lambda kind: [line.strip() for f in glob.glob("%s/%s.*" % (ledger, kind)) for line in open(f)]
sent, deleted = read("deliver"), read("delete")
have = {}
for d in dirs:
    for s in "new", "cur":
        for f in os.listdir(d + "/" + s):
            p = d + "/" + s + "/" + f
            have.setdefault(re.search(rb"Subject: (\S+)", open(p, "rb").read() or b"Subject: empty")[1].decode(), []).append(p)
bad = []
if len(set(sent)) != len(sent) or len(set(deleted)) != len(deleted):
    bad.append("a mail was delivered or deleted twice")
for i in set(sent) - set(deleted) - set(have):
    bad.append("lost: " + i)
for i in set(have) & set(deleted):
    bad.append("there again: " + i)
for i, at in have.items():
    if len(at) > 1:
        bad.append("doubled: " + " ".join(at))
    head, _, body = open(at[0], "rb").read().partition(b"\n\n")
    if i not in sent or hashlib.sha1(body).hexdigest().encode() not in head:
        bad.append("not what was sent: " + at[0])
for d in dirs:
    bad += ["left: " + d + "/tmp/" + f for f in os.listdir(d + "/tmp")]
print(len(sent), "sent", len(deleted), "deleted", len(have), "there")
print("\n".join(bad[:20]))
sys.exit(1 if bad or len(have) != len(sent) - len(deleted) else 0)
P

crowd() {	# starts them all, waits for each; a process that hangs is killed, and that is a failure
	local kind n pids=() names=() rc=0 i
	for kind in deliver:10 flag:6 move:4 delete:4 scan:8; do
		for ((n = 0; n < ${kind#*:}; n++)); do
			timeout -k 5 "${PATIENCE:-180}" python3 "$TMP/many.py" "$MNT" "$MNT/.Other" "$WORK/ledger" "${kind%:*}" $n "$ROUNDS" "$SEED" >>"$WORK/said" 2>&1 &
			pids+=($!) names+=("${kind%:*}.$n")
		done
	done
	if mounted; then
		while kill -0 "${pids[0]}" 2>/dev/null; do
			timeout 120 "$SYNC" -o "mail_location=dsyncfs:$STORE" mirror --no-max-delete "maildir:$WORK/peer" >>"$WORK/sync.log" 2>&1
			i=$?
			# 2: something changed meanwhile, run again.
			[ $i = 0 ] || [ $i = 2 ] || { echo "the sync: $i"; tail -3 "$WORK/sync.log"; rc=1; break; }
			echo $i >>"$WORK/syncs"
		done
	fi
	for i in "${!pids[@]}"; do wait "${pids[i]}" || { echo "${names[i]}: exit $?"; rc=1; }; done
	[ $rc = 0 ] || tail -5 "$WORK/said"
	return $rc
}
none_hangs() { ! ps -eo stat,args | grep "^D.*$TMP/many[.]py"; }

all() {
	mkdir -p "$WORK/ledger"
	maildir_new "$MNT/.Other"
	mounted && maildir_new "$WORK/peer"
	check "32 processes work, none fails, readers see whole mails" crowd
	check "none hangs" none_hangs
	check "readers had something to read" eval '[ "$(grep -c "looked at [1-9]" "$WORK/said")" -ge 4 ]'
	check "no mail is lost, doubled or half" python3 "$TMP/judge.py" "$WORK/ledger" "$MNT" "$MNT/.Other"
	if mounted; then
		check "a sync ran meanwhile" test -s "$WORK/syncs"
		check "the store has what the folders show" eval '[ "$(ds dump | grep -c sha1=)" = $(($(count "$MNT") + $(count "$MNT/.Other"))) ]'
		check "and what the last sync leaves at the peer is the same" eval 'again ds mirror --no-max-delete "maildir:$WORK/peer" && python3 "$TMP/judge.py" "$WORK/ledger" "$WORK/peer" "$WORK/peer/.Other"'
		check "nothing of that was made twice here" python3 "$TMP/judge.py" "$WORK/ledger" "$MNT" "$MNT/.Other"
		check "verify while it is mounted" ds verify
	fi
}
on_both all
finish
