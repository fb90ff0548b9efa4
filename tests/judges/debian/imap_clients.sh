#!/bin/bash
# imap_clients -- many IMAP clients at once on a Dovecot whose Maildir is the mount: each appends, moves and deletes mail of its own,
# changes flags of anybody's, and reads it.  No mail is read torn; in the end each is where its owner put it, once, and whole.
#
#	CLIENTS	how many (8)
#	ROUNDS	operations of each (60)
#	SEED	of what each of them does (1)
. "$(dirname "$0")/../../real.sh"
. "$(dirname "$0")/../../dovecot.sh"
needs python3
CLIENTS=${CLIENTS:-8} ROUNDS=${ROUNDS:-60} SEED=${SEED:-1}
echo "CLIENTS=$CLIENTS ROUNDS=$ROUNDS SEED=$SEED"
cat >"$TMP/client.py" <<'P'
import hashlib, imaplib, random, re, sys
server, who, rounds, seed, ledger = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
r = random.Random("%s:%s" % (seed, who))
c = imaplib.IMAP4_stream(server)
mine, at, count = {}, "INBOX", 0

def must(answer, *allowed):
    if answer[0] != "OK" and not any(a in str(answer[1]) for a in allowed):
        sys.exit("%s: %r" % (who, answer))
    return answer[1]

def select(box):
    global at
    must(c.select(box))
    at = box

def numbers(*criteria):
    found = must(c.uid("search", *criteria))
    return found[0].split() if found and found[0] else []

def uid_of(name):
    select(mine[name])
    found = numbers("HEADER", "X-Id", '"%s"' % name)
    if len(found) != 1:
        sys.exit("%s: %s is %d times in %s" % (who, name, len(found), at))
    return found[0]

def append():
    global count
    name, count = "id-%s-%d-" % (who, count), count + 1
    body = "".join("%x\r\n" % r.getrandbits(200) for _ in range(r.choice([1, 5, 50, 400])))
    head = "From: a@example.org\r\nSubject: %s\r\nX-Id: %s\r\nX-Sum: %s\r\n\r\n" % (name, name, hashlib.sha1(body.encode()).hexdigest())
    box = r.choice(["INBOX", "Work"])
    must(c.append(box, r.choice([None, "(\\Seen)"]), None, (head + body).encode()))
    mine[name] = box

def read():
    have = numbers("ALL")
    for uid in r.sample(have, min(3, len(have))):
        for part in must(c.uid("fetch", uid, "(UID FLAGS BODY.PEEK[])"), "no longer exist", "EXPUNGEISSUED"):
            if isinstance(part, tuple):
                head, _, body = part[1].partition(b"\r\n\r\n")
                if b"X-Sum: " + hashlib.sha1(body).hexdigest().encode() not in head:
                    sys.exit("%s: torn: %r" % (who, part[0]))

def flag():
    have = numbers("ALL")
    for uid in r.sample(have, min(4, len(have))):
        flags = " ".join(r.sample(["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Forwarded", "lab"], r.randrange(1, 4)))
        must(c.uid("store", uid, r.choice(["+FLAGS", "-FLAGS"]), "(%s)" % flags), "no longer exist", "EXPUNGEISSUED")

def move():
    if mine:
        name = r.choice(sorted(mine))
        uid, to = uid_of(name), "Work" if mine[name] == "INBOX" else "INBOX"
        must(c._simple_command("UID", "MOVE", uid, to))
        mine[name] = to

def delete():
    if len(mine) > 3:
        name = r.choice(sorted(mine))
        uid = uid_of(name)
        must(c.uid("store", uid, "+FLAGS", "(\\Deleted)"))
        must(c._simple_command("UID", "EXPUNGE", uid))
        del mine[name]

imaplib.Commands.setdefault("MOVE", ("SELECTED",))
select("INBOX")
for _ in range(rounds):
    r.choice([append, append, read, read, flag, flag, move, delete, lambda: must(c.noop()), lambda: select(r.choice(["INBOX", "Work"]))])()
c.logout()
with open(ledger, "w") as out:
    for name, box in sorted(mine.items()):
        print(name, box, file=out)
P
cat >"$TMP/there.py" <<'P'
import hashlib, os, re, sys
for box, folder in (("INBOX", ""), ("Work", "/.Work")):
    for d in ("new", "cur"):
        at = "%s%s/%s/" % (sys.argv[1], folder, d)
        for f in os.listdir(at):
            head, _, body = open(at + f, "rb").read().replace(b"\r\n", b"\n").partition(b"\n\n")
            whole = b"X-Sum: " + hashlib.sha1(body.replace(b"\n", b"\r\n")).hexdigest().encode() in head
            print(re.search(rb"^X-Id: (\S+)$", head, re.M).group(1).decode(), box, "" if whole else "torn", sep=" ")
P
all() {
	local i pids=() p bad=0
	dovecot_conf $SIDE "maildir:$MNT"
	imap_of $SIDE
	check "a second mailbox" da $SIDE mailbox create Work
	for ((i = 0; i < CLIENTS; i++)); do
		timeout 300 python3 "$TMP/client.py" "$TMP/bin/imap-$SIDE" $i "$ROUNDS" "$SEED" "$WORK/ledger.$i" >"$WORK/client.$i" 2>&1 &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p" || bad=$((bad + 1)); done
	# A duplicate entry is what a listing shows of a file that is renamed meanwhile: Dovecot says so of a plain Maildir, too.
	equal "no client has a complaint" "" "$(grep -hvE ' Info: Disconnected: | Warning: .* Duplicate file entry ' "$WORK"/client.*)"
	equal "and all end well" 0 $bad
	equal "Dovecot has none" "" "$(grep -hE 'Error|Panic|Fatal|Warning|Broken|Corrupt' "$TMP/dovecot/$SIDE/log" 2>/dev/null)"
	check "there is mail" test -s "$WORK/ledger.0"
	equal "each mail is where its owner put it, once, and whole" "$(cat "$WORK"/ledger.* | sort)" \
		"$(python3 "$TMP/there.py" "$MNT" | sed 's/ $//' | sort)"
}
on_both all
finish
