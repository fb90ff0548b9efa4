#!/usr/bin/env python3
"""dump_doveadm -- what a real Dovecot says of all mail, in the format of `dsyncfs-sync dump --no-modseqs`.

	dump_doveadm.py DOVECOT.CONF [--no-uid]

Everything comes out of doveadm (mailbox list, mailbox status, fetch); nothing is read from the Maildir itself.
With --no-uid: no UID, GUID of mailbox, UIDVALIDITY or UIDNEXT, and the messages of a mailbox in order of content:
for a Dovecot on the mount, whose UIDs are its own.
"""
import datetime
import hashlib
import re
import subprocess
import sys


# A parent that is no mailbox any more is one in some of Dovecot's lists.
PARENT = re.compile(rb"[^\n]*Error: Mailbox [^\n]*: Failed to lookup mailbox status: Mailbox doesn't exist[^\n]*\n")


def doveadm(conf, *args):
    r = subprocess.run(("doveadm", "-c", conf) + args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    err = PARENT.sub(b"", r.stderr)
    sys.stderr.buffer.write(err)
    if r.returncode != 0 and not (r.returncode == 68 and b"Error" not in err):
        sys.exit("doveadm %s: exit %d" % (" ".join(args), r.returncode))
    return r.stdout


def lines(conf, *args):
    return doveadm(conf, *args).decode("utf-8", "surrogateescape").splitlines()


def fetch(conf, box):
    """doveadm's pager: a line a field, `text:` last, its bytes as they are, a form feed between messages."""
    out = doveadm(conf, "-f", "pager", "fetch", "uid guid flags date.received size.physical text", "mailbox", box, "all")
    rec = re.compile(rb"uid: (\d+)\nguid: ([^\n]*)\nflags: ([^\n]*)\ndate\.received: ([^\n]*)\nsize\.physical: (\d+)\ntext:\n")
    found = []
    at = 0
    while at < len(out):
        m = rec.match(out, at)
        if not m:
            sys.exit("doveadm fetch in %s: cannot read %r" % (box, out[at:at + 80]))
        end = m.end() + int(m.group(5))
        rest = re.compile(rb"\n?(\x0c\n|\Z)").match(out, end)
        if not rest:
            sys.exit("doveadm fetch in %s: UID %s is not as long as it says" % (box, m.group(1).decode()))
        found.append(m.groups() + (out[m.end():end],))
        at = rest.end()
    return found


def escaped(s, also=""):
    """As dump does it: what would make a line ambiguous as \\ooo."""
    return "".join("\\%03o" % ord(c) if c <= " " or c in '\x7f"\\' or c in also else c for c in s)


def epoch(s):
    return int(datetime.datetime.strptime(s, "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.timezone.utc).timestamp())


def message(m, uid):
    number, guid, flags, received, _, text = m
    words = flags.decode("utf-8", "surrogateescape").split()
    system = sorted(f for f in words if f[0] == "\\" and f != "\\Recent")
    keywords = [escaped(f, ",") for f in sorted(f for f in words if f[0] != "\\")]
    body = text.replace(b"\r\n", b"\n")
    head = number.decode() + " " if uid else ""
    return "%sguid=%s flags=%s keywords=%s received=%d size=%d sha1=%s" % (
        head, escaped(guid.decode("utf-8", "surrogateescape")), ",".join(system), ",".join(keywords), epoch(received.decode()), len(body),
        hashlib.sha1(body).hexdigest())


def main(conf, uid):
    subscribed = set(lines(conf, "mailbox", "list", "-s"))
    out = []
    status = [l.split("\t") for l in lines(conf, "-f", "tab", "mailbox", "status", "uidvalidity uidnext guid messages", "*")]
    for row in status[1:]:
        f = dict(zip(status[0], row))
        box = f["mailbox"]
        head = "mailbox " + escaped(box)
        if uid:
            head += " guid=%s uidvalidity=%s uidnext=%s" % (f["guid"], f["uidvalidity"], f["uidnext"])
        head += " subscribed=%d" % (box in subscribed)
        got = fetch(conf, box)
        if len(got) != int(f["messages"]):
            sys.exit("%s: %s messages in its status, %d fetched" % (box, f["messages"], len(got)))
        body = [message(m, uid) for m in got]
        out.append((box.encode("utf-8", "surrogateescape"), [head] + (body if uid else sorted(body))))
    for box in subscribed - {b.decode("utf-8", "surrogateescape") for b, _ in out}:
        out.append((box.encode("utf-8", "surrogateescape"), ["subscription " + escaped(box)]))
    for _, block in sorted(out):
        for line in block:
            sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape") + b"\n")


main(sys.argv[1], "--no-uid" not in sys.argv[2:])
