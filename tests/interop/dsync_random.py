#!/usr/bin/env python3
"""dsync_random -- random histories of a real Dovecot and a location of ours, with syncs in between in both roles.

	dsync_random.py [-j N] [-k] [-v] FIRST COUNT	the histories of these seeds; -k goes on after a failure
	dsync_random.py [-v] FILE...			histories as they are printed for a failing seed

A history is drawn from its seed alone: it says which user does what, by numbers that are counted modulo what there is, and
which sync runs when.  A failing one is shrunk and printed.  dsync_random.sh sets up what this needs and runs it:
$RANDOM_DIR (a directory for it alone), $BIN (our programs), $DOVECOT_maildir and $DOVECOT_sdbox (configurations).

What has to hold: no sync fails or complains; one that says 0 leaves both sides equal; in the end, after few runs, both are
equal in UIDVALIDITY, UIDs, GUIDs, flags, keywords, dates, bodies and subscriptions, by `dsyncfs-sync dump` and by doveadm; a
further run changes nothing; no mail is lost that nobody expunged.
"""
import argparse
import base64
import calendar
import hashlib
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import traceback
import sys
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
DIR = os.environ["RANDOM_DIR"]
BIN = os.environ["BIN"]
SYNC = BIN + "/dsyncfs-sync"
NAMES = ("Work", "Work/Sub", "Work/Sub/Deep", "Arkiv", "Arkiv/2024", "Job", "Job/Sub", "Trash", "R\u00e4k", "INBOX/In")
FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")      # in the order of their bits
KEYWORDS = ("k1", "k2", "$Forwarded")
DEADLINE = 300          # seconds, for any program: generous


class Failure(Exception):
    pass


def utf7(name):
    return "".join(c if 0x20 <= ord(c) < 0x7f and c != "&" else
                   "&" + base64.b64encode(c.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-" for c in name)


def from_utf7(name):
    return re.sub("&([^-]*)-", lambda m: base64.b64decode(m.group(1).replace(",", "/") + "==").decode("utf-16-be")
                  if m.group(1) else "&", name)


def escaped(s, also=""):
    """As dump does it."""
    return "".join("\\%03o" % ord(c) if c <= " " or c in '\x7f"\\' or c in also else c for c in s)


def mail(n, r):
    """A mail and its date.  No bare CR, no NUL: IMAP could not deliver it.  Its tag is the first word of its Subject."""
    head = "Subject: t%d of all\nDate: Mon, 01 Jan 2024 10:%02d:00 +0000\nMessage-ID: <t%d@example.org>\n" % (n, n % 60, n)
    body = (b"text %d\n" % n, b".\n..\n.x\n...\n", b"no end", b"", "Entw\u00fcrfe \u2603\n".encode(), b"\xff\xfe 8 bit \x80\n.\n",
            b"X\nVERSION\tdsync\t3\t5\n.\nF\n", b"From here\n\n\n", b"long\n" * 700, b"last\n.")[r % 10]
    if r // 10 % 7 == 0:
        head = ".dot: first byte\n" + head
    return head.encode() + b"\n" + body, 1600000000 + n * 1000 + r % 1000


# ---- the two users ----

class Imap:
    """Dovecot's user: one imap process, through which all is done and seen."""

    def __init__(self, argv, env, log):
        self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=env)
        self.n = 0
        self.last = b""
        self.line()

    def line(self):
        """A line of the server, and its literals."""
        lits, out = [], b""
        while True:
            s = self.p.stdout.readline()
            if not s:
                raise Failure("imap has gone: status %s" % self.p.wait(DEADLINE))
            out += s
            self.last = s
            m = re.search(rb"\{(\d+)\}\r\n$", s)
            if not m:
                return out.rstrip(b"\r\n"), lits
            lits.append(self.p.stdout.read(int(m.group(1))))

    def cmd(self, text, literal=None):
        self.n += 1
        tag = b"a%d" % self.n
        data = tag + b" " + text.encode()
        if literal is not None:
            data += b" {%d+}\r\n" % len(literal) + literal
        self.p.stdin.write(data + b"\r\n")
        self.p.stdin.flush()
        got = []
        while True:
            s, lits = self.line()
            if s.startswith(tag + b" "):
                return s[len(tag) + 1:len(tag) + 3] == b"OK", got
            got.append((s, lits))

    def close(self):
        self.p.stdin.close()
        self.p.stdout.close()
        self.p.wait()


def quoted(name):
    return '"%s"' % utf7(name).replace("\\", "\\\\").replace('"', '\\"')


class Far:
    """A Dovecot."""

    def __init__(self, kind, home, clock):
        self.conf = os.environ["DOVECOT_" + kind]
        self.env = {"PATH": os.environ["PATH"], "HOME": home, "USER": "mail", "TZ": "UTC", "LC_ALL": "C.UTF-8", **clock}
        self.home = home
        self.logname = home + "/log"
        os.mkdir(home)
        self.log = open(self.logname, "ab")
        self.user = self.imap = self.connect()
        self.imap.cmd("SELECT INBOX")       # which makes it: until then its UIDVALIDITY is another one each time
        self.imap.cmd("UNSELECT")

    def connect(self):
        return Imap(self.doveadm("exec", "imap"), self.env, self.log)

    def doveadm(self, *args):
        return ["doveadm", "-c", self.conf] + list(args)

    def server(self):
        return ["env", "-i"] + ["%s=%s" % v for v in self.env.items()] + self.doveadm("dsync-server")

    def begin(self):
        try:
            self.user.cmd("NOOP")
        except (Failure, BrokenPipeError):
            self.begin_again()

    def begin_again(self):
        """An IMAP server ends a session that has known a mailbox of this name by another UIDVALIDITY."""
        self.user.close()
        with open(self.logname, errors="replace") as f:
            if not any("please relogin" in s for s in f.readlines()[-3:]):
                raise Failure("imap has gone: %r, status %r" % (self.user.last, self.user.p.returncode))
        self.user = self.imap = self.connect()

    def end(self):
        self.imap.cmd("UNSELECT")

    def list(self, how="LIST \"\" *"):
        out = []
        for s, lits in self.imap.cmd(how)[1]:
            m = re.match(rb'\* LIST \(([^)]*)\) \S+ (.*)$', s)
            name = lits[0].decode() if lits else m.group(2).decode()
            if name.startswith('"'):
                name = re.sub(r"\\(.)", r"\1", name[1:-1])
            out.append((from_utf7(name), m.group(1).lower()))
        return out

    def boxes(self):
        return sorted(n for n, f in self.list() if b"\\noselect" not in f and b"\\nonexistent" not in f)

    def select(self, box, n):
        """The sequence number of message n, its UID and tag."""
        ok, got = self.imap.cmd("SELECT " + quoted(box))
        exists = [int(s.split()[1]) for s, _ in got if s.endswith(b" EXISTS")]
        if not ok or not exists[0]:
            return None
        n = n % exists[0] + 1
        got = self.imap.cmd("FETCH %d (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])" % n)[1]
        return n, int(re.search(rb"UID (\d+)", got[0][0]).group(1)), got[0][1][0].split()[1].decode()

    def deliver(self, box, m, when, flags, kw, guid):
        words = [f for i, f in enumerate(FLAGS) if flags >> i & 1] + ([kw] if kw else [])
        date = time.strftime("%d-%b-%Y %H:%M:%S +0000", time.gmtime(when))
        return self.imap.cmd('APPEND %s (%s) "%s"' % (quoted(box), " ".join(words), date), m.replace(b"\n", b"\r\n"))[0]

    def store(self, box, n, *how):
        at = self.select(box, n)
        for words in how if at else ():
            if not words.endswith("()"):
                self.imap.cmd("STORE %d %s" % (at[0], words))
        return at and at[2]

    def flags(self, box, n, add, remove):
        return self.store(box, n, *("%sFLAGS.SILENT (%s)" % (s, " ".join(f for i, f in enumerate(FLAGS) if bits >> i & 1))
                                    for s, bits in (("+", add), ("-", remove))))

    def keyword(self, box, n, word):
        return self.store(box, n, "%sFLAGS.SILENT (%s)" % (word[0], word[1:]))

    def expunge(self, box, n):
        at = self.select(box, n)
        if not at:
            return None
        self.imap.cmd("STORE %d +FLAGS.SILENT (\\Deleted)" % at[0])
        return self.imap.cmd("UID EXPUNGE %d" % at[1])[0] and at[2]

    def to_box(self, verb, box, n, to):
        at = self.select(box, n)
        return at and self.imap.cmd("%s %d %s" % (verb, at[0], quoted(to)))[0] and at[2]

    def copy(self, box, n, to):
        return self.to_box("COPY", box, n, to)

    def move(self, box, n, to):
        return None if to == box else self.to_box("MOVE", box, n, to)

    def tree(self, text):
        self.imap.cmd("UNSELECT")
        return self.imap.cmd(text)[0]

    def create(self, name):
        return self.tree("CREATE " + quoted(name))

    def rename(self, box, name):
        return self.tree("RENAME %s %s" % (quoted(box), quoted(name)))

    def delete(self, box):
        return self.tree("DELETE " + quoted(box))

    def subscribe(self, name):
        return self.tree("SUBSCRIBE " + quoted(name))

    def unsubscribe(self, name):
        return self.tree("UNSUBSCRIBE " + quoted(name))

    # what there is, in the format of `dsyncfs-sync dump`

    def message(self, s, body, modseqs):
        body = body.replace(b"\r\n", b"\n")
        words = re.search(rb"FLAGS \(([^)]*)\)", s).group(1).decode().split()
        date = re.search(rb'INTERNALDATE "([^"]*) \+0000"', s).group(1).decode().strip()
        guid = re.search(rb"X-GUID (\S+)", s).group(1).decode()
        return "%s guid=%s%s flags=%s keywords=%s received=%d size=%d sha1=%s" % (
            re.search(rb"UID (\d+)", s.replace(b"X-GUID", b"")).group(1).decode(), escaped(guid),
            " modseq=" + re.search(rb"MODSEQ \((\d+)\)", s).group(1).decode() if modseqs else "",
            ",".join(sorted(f for f in words if f[0] == "\\" and f != "\\Recent")),
            ",".join(escaped(f, ",") for f in sorted(f for f in words if f[0] != "\\")),
            calendar.timegm(time.strptime(date, "%d-%b-%Y %H:%M:%S")), len(body), hashlib.sha1(body).hexdigest())

    def box_lines(self, name, subscribed, modseqs):
        what = "UIDVALIDITY UIDNEXT X-GUID" + (" HIGHESTMODSEQ" if modseqs else "")
        got = [s for s, _ in self.imap.cmd("STATUS %s (%s)" % (quoted(name), what))[1] if s.startswith(b"* STATUS")]
        if not got:         # a parent; Dovecot's Maildir++ lists some as mailboxes
            return []
        f = dict(re.findall(r"(X-GUID|UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\w+)", got[0].decode().rpartition("(")[2]))
        out = ["mailbox %s guid=%s uidvalidity=%s uidnext=%s%s subscribed=%d" % (
            escaped(name), f["X-GUID"], f["UIDVALIDITY"], f["UIDNEXT"],
            " highestmodseq=" + f["HIGHESTMODSEQ"] if modseqs else "", subscribed)]
        self.imap.cmd("EXAMINE " + quoted(name))
        got = self.imap.cmd("FETCH 1:* (UID X-GUID FLAGS INTERNALDATE%s BODY.PEEK[])" % (" MODSEQ" if modseqs else ""))[1]
        return out + [self.message(s, lits[0], modseqs) for s, lits in got if lits]

    def dump(self, modseqs=False):
        """In a session of its own: one that is open may say an older GUID of a mailbox."""
        self.imap = self.connect()
        try:
            return self.dump_here(modseqs)
        finally:
            self.imap.close()
            self.imap = self.user

    def dump_here(self, modseqs):
        subs = {n for n, _ in self.list("LIST (SUBSCRIBED) \"\" *")}
        boxes = self.boxes()
        out = [(n.encode(), lines) for n in boxes for lines in [self.box_lines(n, n in subs, modseqs)] if lines]
        out += [(n.encode(), ["subscription " + escaped(n)]) for n in subs - {n.decode() for n, _ in out}]
        return [line for _, block in sorted(out) for line in block]

    def dump_doveadm(self):
        """The same by doveadm, with each program anew."""
        p = subprocess.run([sys.executable, ROOT + "/tests/interop/dump_doveadm.py", self.conf], env=self.env,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE)
        if p.returncode:
            raise Failure("dump_doveadm: exit %d: %s" % (p.returncode, p.stderr.decode()))
        return p.stdout.decode().splitlines()

    def close(self):
        self.imap.close()
        self.log.close()


class Near:
    """A location of ours."""

    def __init__(self, location, home, env):
        self.location = location
        self.env = {**os.environ, **env}
        self.home = home
        self.p = None

    def command(self, *args):
        return [SYNC, "-o", "mail_location=" + self.location, "-o", "max_delete=100%"] + list(args)

    def dump(self, modseqs=False):
        p = subprocess.run([SYNC, "dump"] + ([] if modseqs else ["--no-modseqs"]) + [self.location], env=self.env,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE)
        if p.returncode:
            raise Failure("dump %s: exit %d: %s" % (self.location, p.returncode, p.stderr.decode()))
        text = p.stdout.decode().splitlines()
        return text if modseqs else [re.sub(r"^(mailbox .*) highestmodseq=\d+", r"\1", s) for s in text]

    def begin(self):
        pass

    def end(self):
        pass

    def close(self):
        pass


class NearStore(Near):
    """A store: store_user does what a mount would do."""

    def begin(self):
        self.p = subprocess.Popen([BIN + "/tests/interop/store_user", self.location], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.env)

    def end(self):
        self.p.stdin.close()
        self.p.stdout.close()
        if self.p.wait():
            raise Failure("store_user: exit %d" % self.p.returncode)

    def ask(self, *words):
        self.p.stdin.write("\t".join(str(w) for w in words).encode() + b"\n")
        self.p.stdin.flush()
        s = self.p.stdout.readline().decode().rstrip("\n").split("\t")
        if s[0] not in ("ok", "no"):
            raise Failure("store_user has gone at %r" % (words,))
        return s[1:] if s[0] == "ok" else None

    def boxes(self):
        return self.ask("boxes")

    def deliver(self, box, m, when, flags, kw, guid):
        return self.ask("deliver", box, guid, flags, kw, when, m.hex()) is not None

    def tag(self, *words):
        got = self.ask(*words)
        return got and got[0]

    def flags(self, box, n, add, remove):
        return self.tag("flags", box, n, add, remove)

    def keyword(self, box, n, word):
        return self.tag("keyword", box, n, word)

    def expunge(self, box, n):
        return self.tag("expunge", box, n)

    def copy(self, box, n, to):
        return self.tag("copy", box, n, to)

    def move(self, box, n, to):
        return self.tag("move", box, n, to)

    def create(self, name):
        return self.ask("create", name) is not None

    def rename(self, box, name):
        return self.ask("rename", box, name) is not None

    def delete(self, box):
        return self.ask("delete", box) is not None

    def subscribe(self, name):
        return self.ask("subscribe", name) is not None

    def unsubscribe(self, name):
        return self.ask("unsubscribe", name) is not None


class NearMaildir(Near):
    """A Maildir++: its user works with its files."""

    def __init__(self, location, home, env):
        super().__init__(location, home, env)
        self.root = location.partition(":")[2]
        self.make(self.root)

    @staticmethod
    def make(d):
        for s in ("cur", "new", "tmp"):
            os.makedirs(d + "/" + s)

    def folder(self, box):
        return self.root if box == "INBOX" else self.root + "/." + utf7(box).replace("/", ".")

    def boxes(self):
        return ["INBOX"] + sorted(from_utf7(e[1:]).replace(".", "/") for e in os.listdir(self.root)
                                  if e[0] == "." and os.path.isdir("%s/%s/cur" % (self.root, e)))

    def messages(self, box):
        d = self.folder(box)
        return sorted(s + "/" + e for s in ("cur", "new") for e in os.listdir(d + "/" + s))

    def at(self, box, n):
        if not os.path.isdir(self.folder(box)):
            return None, None
        have = self.messages(box)
        if not have:
            return None, None
        path = self.folder(box) + "/" + have[n % len(have)]
        with open(path, "rb") as f:
            return path, re.search(rb"Subject: (\S+)", f.read()).group(1).decode()

    @staticmethod
    def letters(flags):
        return "".join(sorted(c for i, c in enumerate("RFTSD") if flags >> i & 1))

    def deliver(self, box, m, when, flags, kw, guid):
        d = self.folder(box)
        if not os.path.isdir(d):
            return False
        with open(d + "/tmp/" + guid, "xb") as f:
            f.write(m)
        os.utime(d + "/tmp/" + guid, (when, when))
        os.rename(d + "/tmp/" + guid, d + ("/cur/%s:2,%s" % (guid, self.letters(flags)) if flags else "/new/" + guid))
        return True

    def flags(self, box, n, add, remove):
        path, tag = self.at(box, n)
        if path:
            name, _, old = os.path.basename(path).partition(":2,")
            bits = sum(1 << i for i, c in enumerate("RFTSD") if c in old)
            new = "".join(sorted(self.letters((bits | add) & ~remove) + "".join(c for c in old if c not in "RFTSD")))
            os.rename(path, "%s/cur/%s:2,%s" % (self.folder(box), name, new))
        return tag

    def keyword(self, box, n, word):
        return None

    def expunge(self, box, n):
        path, tag = self.at(box, n)
        if path:
            os.unlink(path)
        return tag

    def copy(self, box, n, to):
        return None

    def move(self, box, n, to):
        path, tag = self.at(box, n)
        if not path or to == box or not os.path.isdir(self.folder(to)):
            return None
        name = os.path.basename(path)
        if any(e.partition(":2,")[0].endswith("/" + name.partition(":2,")[0]) for e in self.messages(to)):
            return None
        os.rename(path, "%s/%s/%s" % (self.folder(to), "cur" if ":2," in name else "new", name))
        return tag

    def create(self, name):
        if name == "INBOX" or os.path.isdir(self.folder(name)):
            return False
        self.make(self.folder(name))
        return True

    def below(self, box):
        return [b for b in self.boxes() if b == box or b.startswith(box + "/")]

    def rename(self, box, name):
        if box == "INBOX" or name == box or name.startswith(box + "/") or self.below(name) or name == "INBOX":
            return False
        for b in self.below(box):
            os.rename(self.folder(b), self.folder(name + b[len(box):]))
        return True

    def delete(self, box):
        if box == "INBOX" or not os.path.isdir(self.folder(box) + "/cur"):
            return False
        assert self.folder(box).startswith(DIR + "/")
        shutil.rmtree(self.folder(box))
        return True

    def subscribed(self, change=None):
        try:
            with open(self.root + "/subscriptions") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def subscriptions(self, name, on):
        """Either form of the file (with Dovecot's "V 2" line, or without)."""
        text = self.subscribed()
        v2 = text.startswith("V\t2\n\n")
        line = (utf7(name).replace("/", "\t") if v2 else utf7(name).replace("/", ".")) + "\n"
        have = text.splitlines(keepends=True)
        if on == (line in have):
            return False
        have = have + [line] if on else [s for s in have if s != line]
        with open(self.root + "/subscriptions.new", "w") as f:
            f.write("".join(have))
        os.rename(self.root + "/subscriptions.new", self.root + "/subscriptions")
        return True

    def subscribe(self, name):
        return self.subscriptions(name, True)

    def unsubscribe(self, name):
        return self.subscriptions(name, False)


# ---- a history ----

ACTS = ("deliver",) * 7 + ("flags",) * 6 + ("keyword",) * 3 + ("expunge",) * 3 + ("copy",) * 2 + ("move",) * 3 + \
    ("create",) * 3 + ("rename",) * 2 + ("delete", "again", "subscribe", "unsubscribe")
# A Dovecot as a backup's destination cannot take back mail of an INBOX (specs of dsync, 6.8).
ACTS_TAKEN_BACK = ("flags",) * 6 + ("keyword",) * 3 + ("create", "subscribe", "unsubscribe")
# A Dovecot that is the destination and the master compares numbers only: it takes back what was done to it where -f says so
# (its c-mode misses equal numbers of changes, also between two Dovecots; a slave that is the source has nothing to raise).
SYNCS = ("mirror",) * 6 + ("mirror -f",) * 2 + ("doveadm sync",) * 6 + ("doveadm sync -f",) * 2 + (
    "mirror -1", "doveadm sync -1", "doveadm sync -s", "doveadm sync -s", "mirror -s", "mirror -s", "backup", "backup -R",
    "doveadm backup", "doveadm backup -R")
TO_DOVECOT = ("backup", "doveadm backup -R", "doveadm backup -R -f")


def draw(seed):
    r = random.Random("history %d" % seed)
    near = "maildir" if r.randrange(5) == 0 else "store"
    far = r.choice(("maildir", "maildir", "sdbox"))
    steps = []
    for _ in range(r.randrange(2, 7)):
        sync = r.choice(SYNCS)
        if sync in TO_DOVECOT:
            steps.append("settle")
        first = len(steps)
        acts = {"near": ACTS, "far": ACTS_TAKEN_BACK if sync in TO_DOVECOT else ACTS}
        for _ in range(r.randrange(12)):
            side = r.choice(("near", "far"))
            steps.append("%s %s %d %d %d" % (side, r.choice(acts[side]), r.randrange(1000), r.randrange(1000), r.randrange(1000)))
        if sync == "doveadm backup -R" and any(s.startswith("far") for s in steps[first:]):
            sync += " -f"
        steps.append(sync)
    steps = ["setup %s %s %d" % (near, far, r.randrange(3))] + steps
    return with_third(steps, random.Random("third %d" % seed)) if near == "store" and seed % 4 == 0 else steps


def with_third(steps, r):
    """
    A Maildir that is mirrored with the store now and then, with a user of its own.  Not before a backup to a Dovecot, which
    cannot delete its INBOX when UIDs have changed (specs of dsync, 6.8).
    """
    out = steps[:1]
    for i, s in enumerate(steps[1:], 2):
        out.append(s)
        after = next((t for t in steps[i:] if t.split()[0] not in ("near", "far", "settle")), "")
        if s.startswith("near") and r.randrange(3) == 0 and after not in TO_DOVECOT:
            out += ["third %s %d %d %d" % (r.choice(("deliver", "deliver", "flags", "flags", "expunge", "create")), r.randrange(1000),
                                           r.randrange(1000), r.randrange(1000)), "third mirror"]
    return out


class History:
    def __init__(self, name, steps, say):
        self.home = "%s/%s" % (DIR, name)
        self.steps = steps
        self.say = say
        self.made, self.gone, self.deleted = {}, set(), set()
        self.states = {}
        self.renamed = False        # since both were equal
        self.clock_file = self.home + "/clock"

    def setup(self):
        _, near, far, inbox = self.steps[0].split()
        os.mkdir(self.home)
        self.ahead = 0
        with open(self.clock_file, "wb") as f:      # programs have it mapped: it never gets shorter
            f.write(struct.pack("<q", 0))
        # A Maildir's own times cannot be moved: nothing is moved beside one.
        files = near == "maildir" or any(s.startswith("third") for s in self.steps)
        clock = {} if files else {"LD_PRELOAD": BIN + "/tests/interop/clock.so", "TEST_CLOCK": self.clock_file}
        kind = NearMaildir if near == "maildir" else NearStore
        self.near = kind("%s:%s/near" % ("maildir" if near == "maildir" else "dsyncfs", self.home), self.home, clock)
        self.far = Far(far, self.home + "/far", clock)
        if near == "store":
            self.near.begin()
            if inbox != "0":
                self.near.create("INBOX")
            self.near.end()

    def advance(self, seconds):
        self.ahead += seconds
        with open(self.clock_file, "r+b") as f:
            f.write(struct.pack("<q", self.ahead))

    # what a user does

    def note(self, tag):
        if tag:
            self.gone.add(tag)

    def act(self, side, verb, a, b, c):
        boxes = side.boxes()
        if not boxes and verb not in ("create", "subscribe", "unsubscribe"):
            return None
        box = boxes[a % len(boxes)] if boxes else None
        to = boxes[c % len(boxes)] if boxes else None
        name = NAMES[c % len(NAMES)]
        if verb == "deliver":
            n = len(self.made) + 1
            m, when = mail(n, b)
            guid = "17000%05d.M%d.near" % (n, n) if c % 2 else hashlib.md5(b"%d" % n).hexdigest()
            ok = side.deliver(box, m, when, c // 2 % 32 if c % 3 == 0 else 0, KEYWORDS[c % 3] if c % 5 == 0 else "", guid)
            if ok:
                self.made[hashlib.sha1(m).hexdigest()] = "t%d" % n
            return "%s t%d" % (box, n) if ok else None
        if verb == "flags":
            bits = 1 << c % 5 | 1 << c // 5 % 5
            return self.told(box, side.flags(box, b, *((bits, 0) if c // 25 % 5 < 3 else (0, bits))))
        if verb == "keyword":
            return self.told(box, side.keyword(box, b, ("-" if c // 3 % 3 == 0 else "+") + KEYWORDS[c % 3]))
        if verb in ("copy", "move"):
            return self.told(box + " to " + to, getattr(side, verb)(box, b, to))
        if verb == "expunge":
            tag = side.expunge(box, b)
            self.note(tag)
            return self.told(box, tag)
        return self.act_tree(side, verb, box, name)

    @staticmethod
    def told(what, tag):
        return tag and "%s %s" % (what, tag)

    def act_tree(self, side, verb, box, name):
        if verb in ("delete", "again"):
            if box == "INBOX":
                return None
            self.delete_noted(side, box)
            if not side.delete(box):
                return None
            if verb == "again":
                side.create(box)
            return box
        if verb == "rename":
            self.renamed = True
            return box + " to " + name if box != "INBOX" and side.rename(box, name) else None
        return name if getattr(side, verb)(name) else None

    def delete_noted(self, side, box):
        """Whatever lies in a mailbox that is deleted may go, here now, and over there with the next sync."""
        side.end()
        tree = self.contents(side.dump())
        side.begin()
        guid, have = tree.get(box, (None, ()))
        if guid:
            self.deleted.add(guid)
            self.gone |= have

    def contents(self, lines):
        """Of each mailbox: its GUID and the tags in it."""
        out, box = {}, None
        for s in lines:
            m = re.match(r"mailbox (\S+) guid=(\w+)", s)
            if m:
                box = m.group(1).replace("\\040", " ")
                out[box] = (m.group(2), set())
            elif not s.startswith("subscription"):
                out[box][1].add(self.made[s.rpartition("sha1=")[2]])
        return out

    # syncs

    def run(self, what, argv, env):
        """Status and standard output; what a program complains about fails the history."""
        try:
            p = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            raise Failure("%s: no end after %d s" % (what, DEADLINE))
        err = "\n".join(s for s in p.stderr.decode("utf-8", "replace").splitlines() if "dotlock file's timestamp" not in s)
        self.say("  %s: exit %d%s" % (what, p.returncode, "\n" + re.sub("(?m)^", "    | ", err) if err else ""))
        if re.search("Panic|Fatal|assert|Sanitizer|Raw backtrace", err):
            raise Failure("%s: %s" % (what, err[:2000]))
        return p.returncode, p.stdout.decode(), err

    def once(self, sync, *more):
        """One run of a sync."""
        words = sync.split()
        state = ()
        if words[-1] == "-s":
            state = ("-s", self.states.get(words[0], ""))
            words.pop()
        if words[0] == "doveadm":
            argv = self.far.doveadm(*words[1:], *state, "env", "-i", *("%s=%s" % v for v in self.near_env().items()),
                                    *self.near.command("dsync-server"))
            rc, out, err = self.run(sync, argv, self.far.env)
        else:
            argv = self.near.command(*more, *words[1:], *state, words[0], *self.far.server())
            rc, out, err = self.run(sync, argv, self.near.env)
        if state:
            self.states[sync.split()[0]] = out.strip() if rc in (0, 2) else ""
            if rc == 75:        # a state that does not fit any more: dsync's users begin anew
                return 2
        # A Dovecot with Maildir++ that has just renamed a mailbox below new parents may stumble over these once.
        if rc == 68 and re.search("Error: Can't create mailbox .*: Mailbox doesn't exist: ", err):
            return 2
        if rc not in (0, 2):
            raise Failure("%s: exit %d: %s" % (sync, rc, err[:2000]))
        # So it speaks of a mailbox that has begun its UIDs anew.
        said = [s for s in err.splitlines() if not re.search("first_recent_uid unexpectedly shrank", s)]
        if re.search("Error|error", "\n".join(said)) and rc == 0:
            raise Failure("%s: exit 0, and it says: %s" % (sync, err[:2000]))
        return rc

    def near_env(self):
        return {k: v for k, v in self.near.env.items() if k in ("PATH", "HOME", "LD_PRELOAD", "TEST_CLOCK", "TZ")}

    def differ(self, subscriptions=True):
        a, b = self.far.dump(), self.near.dump()
        if not subscriptions:
            a, b = ([re.sub("^(mailbox .*) subscribed=.", r"\1", s) for s in d if not s.startswith("subscription")] for d in (a, b))
        if a == b:
            self.renamed = self.renamed and not subscriptions
            return ""
        sa, sb = set(a), set(b)
        return "\n".join(["Dovecot:"] + ["  " + s for s in a if s not in sb or s.startswith("mailbox")] + ["here:"] +
                         ["  " + s for s in b if s not in sa or s.startswith("mailbox")])

    def may_go(self):
        for side in (self.near, self.far) + ((self.third,) if self.third else ()):
            for guid, have in self.contents(side.dump()).values():
                if guid in self.deleted:
                    self.gone |= have

    def sync(self, sync):
        self.may_go()
        if "backup" in sync:
            return self.backup(sync)
        source = None if "-1" not in sync else self.far if "doveadm" in sync else self.near
        before = source and source.dump()
        for _ in range(4):
            rc = self.once(sync)
            if rc == 0:
                break
        else:
            raise Failure("%s: exit 2 for ever" % sync)
        if source:
            self.unchanged(sync, before, source.dump())
        if "-1" not in sync and "-s" not in sync:
            # Dovecot moves a subscription along with a renamed mailbox in its picture of the tree, and not in its list of
            # names; as the master it does not say that they differ until a later run (specs of dsync, 4.7).
            # Nor that what a collision of names left has another name here ("-temp-": no RENAME is sent for the final one).
            text = self.differ(not (self.renamed and "doveadm" in sync))
            if self.renamed and "doveadm" in sync and "-temp-" in text:
                text = ""
            if text:
                raise Failure("%s: exit 0, and the sides differ:\n%s" % (sync, text))

    @staticmethod
    def unchanged(sync, before, after):
        # A Dovecot keeps a UIDVALIDITY from the first mail on.
        before, after = ([re.sub("uidvalidity=\\d+ uidnext=1 ", "uidnext=1 ", s) for s in d] for d in (before, after))
        if after != before:
            raise Failure("%s: has changed its source:\n%s\nwas\n%s" % (
                sync, "\n".join(s for s in after if s not in before), "\n".join(s for s in before if s not in after)))

    @staticmethod
    def in_backup(lines):
        """What a backup has to carry: without UIDs, which it cannot always set."""
        out, box = [], ""
        for s in lines:
            if s.startswith("mailbox "):
                box = s.split()[1]
                out.append("%s %s" % (box, s.split()[-1]))
            elif s.startswith("subscription"):
                out.append(s)
            else:
                out.append(box + " " + s.partition(" ")[2])
        return sorted(out)

    def backup(self, sync):
        source, dest = (self.near, self.far) if sync in TO_DOVECOT else (self.far, self.near)
        before = source.dump()
        sha = {s.rpartition("sha1=")[2] for s in before}
        for s in dest.dump():
            if "sha1=" in s and s.rpartition("sha1=")[2] not in sha:
                self.note(self.made[s.rpartition("sha1=")[2]])
        for _ in range(4):
            if self.once(sync) == 0:
                break
        else:
            raise Failure("%s: exit 2 for ever" % sync)
        self.unchanged(sync, before, source.dump())
        want, got = self.in_backup(before), self.in_backup(dest.dump())
        # See differ: as the destination, too, it leaves the old name of a renamed mailbox in its list.
        if dest is self.far and self.renamed:
            want, got = ([re.sub("^(\\S+) subscribed=.", r"\1", s) for s in d if not s.startswith("subscription")] for d in (want, got))
        if want != got:
            raise Failure("%s: the copy is another one:\n%s" % (sync, "\n".join(
                ["source:"] + ["  " + s for s in want if s not in got] + ["copy:"] + ["  " + s for s in got if s not in want])))

    def settle(self, sync="mirror"):
        self.may_go()
        text = "?"
        for _ in range(4):
            rc = self.once(sync)
            text = self.differ()
            if rc == 0 and not text:
                return
            if rc == 0:
                raise Failure("%s: exit 0, and the sides differ:\n%s" % (sync, text))
        raise Failure("%s: no end after 4 runs; the last one ended with 2; the sides differ:\n%s" % (sync, text))

    def finish(self):
        self.settle()
        a, b = self.far.dump_doveadm(), self.near.dump()
        if a != b:
            raise Failure("doveadm says otherwise:\n%s" % "\n".join(s for s in a if s not in b))
        have = {s.rpartition("sha1=")[2] for s in b}
        for sha, tag in self.made.items():
            if sha not in have and tag not in self.gone:
                raise Failure("%s is lost" % tag)
        self.quiet("mirror")
        self.quiet("doveadm sync")

    def quiet(self, sync):
        """What is noted may trail behind by a run (modseqs too); then nothing may change any more."""
        self.once(sync)
        a, b = self.far.dump(True), self.near.dump(True)
        if self.once(sync) != 0:
            raise Failure("%s: the run after the last ends with 2" % sync)
        for was, side in ((a, self.far), (b, self.near)):
            now = side.dump(True)
            if was != now:
                raise Failure("%s: the run after the last has changed something:\n%s\nwas\n%s" % (
                    sync, "\n".join(s for s in now if s not in was), "\n".join(s for s in was if s not in now)))

    def step(self, s):
        words = s.split()
        if s == "third mirror":
            self.shut()
            return self.mirror_third()
        if words[0] in ("near", "far", "third"):
            if words[0] == "third":
                self.make_third()
            side = {"near": self.near, "far": self.far, "third": self.third}[words[0]]
            if self.open is not side:
                self.shut()
                side.begin()
                self.open = side
            a, b, c = (int(w) for w in words[2:])
            self.advance(a % 3)
            try:
                did = self.act(side, words[1], a, b, c)
            except (Failure, BrokenPipeError):
                if side is not self.far:
                    raise
                self.far.begin_again()
                did = self.act(side, words[1], a, b, c)
            self.say("%s -> %s" % (s, did))
            return
        self.shut()
        self.advance(1)
        self.say(s)
        if s == "settle":
            self.settle()
        else:
            self.sync(s)
        # What a backup has deleted here goes there, too, with what came there since (dsync-protocol 10.3, 12): so it is told at once.
        if "backup" in s and self.third:
            self.mirror_third()

    def make_third(self):
        self.third = self.third or NearMaildir("maildir:%s/third" % self.home, self.home, {})

    def mirror_third(self):
        self.make_third()
        self.may_go()
        for _ in range(4):
            rc, _, err = self.run("third mirror", self.near.command("mirror", self.third.location), self.near.env)
            if rc == 0:
                return
            if rc != 2:
                break
        raise Failure("third mirror: exit %d: %s" % (rc, err[:2000]))

    def shut(self):
        if self.open:
            self.open.end()
        self.open = None

    def go(self):
        """None, or what went wrong."""
        self.open = self.far = self.near = self.third = None
        try:
            self.setup()
            for s in self.steps[1:]:
                self.step(s)
            self.shut()
            self.advance(1)
            self.say("the end")
            self.finish()
            text = None
        except Failure as e:
            text = str(e)
        except (BrokenPipeError, subprocess.TimeoutExpired) as e:
            text = traceback.format_exc()
        if self.far:
            self.far.close()
            with open(self.far.logname, errors="replace") as f:
                log = f.readlines()
                # The last two: of a session that has had open what was then made anew.
                bad = [s for s in log if re.search("Panic|Fatal|Error|Raw backtrace", s) and not re.search(
                    "view is now inconsistent$|first_recent_uid unexpectedly shrank", s)]
            if bad or (text and "gone" in text):
                text = "%s\nDovecot's log: %s" % (text or "no failure, but for this:", "".join(bad or log[-5:])[:2000])
        return text

    def remove(self):
        assert self.home.startswith(DIR + "/")
        shutil.rmtree(self.home, ignore_errors=True)


def run_history(name, steps, verbose=False, keep=False):
    h = History(name, steps, print if verbose else lambda s: None)
    text = h.go()
    if not keep:
        h.remove()
    return text


def kind_of(text):
    return re.sub(r"[0-9a-f]{6,}|\d+", "#", text).partition("\n")[0][:40]


def shrink(name, steps, text):
    """Leaves out what the failure does not need; whatever fails in the same way counts."""
    tries, size = 0, max(1, len(steps) // 3)
    end = time.monotonic() + 60
    while size and time.monotonic() < end:
        at = 1
        while at < len(steps) and time.monotonic() < end:
            fewer = steps[:at] + steps[at + size:]
            tries += 1
            got = run_history("%s.%d" % (name, tries), fewer)
            if got and kind_of(got) == kind_of(text):
                steps, text = fewer, got
            else:
                at += size
        size //= 2
    return steps, text


def one_seed(seed, o):
    steps = draw(seed)
    text = run_history("seed%d" % seed, steps, o.verbose, o.keep)
    if not text:
        return None
    out = "seed %d: %s\n" % (seed, text)
    if not o.no_shrink:
        fewer, text = shrink("shrink%d" % seed, steps, text)
        out += "shrunk, %d of %d steps: %s\n" % (len(fewer), len(steps), text)
        steps = fewer
    return out + "\n".join(steps) + "\n"


def worker(seeds, o, out):
    for seed in seeds:
        try:
            text = one_seed(seed, o)
        except Exception as e:          # of this program: the parent has to hear of it
            text = "seed %d: %r\n" % (seed, e)
        os.write(out, struct.pack("<iI", seed, len(text.encode()) if text else 0))
        if text:
            data = text.encode()
            while data:
                data = data[os.write(out, data):]
            if not o.go_on:
                break


def run_seeds(first, count, o):
    """Failures, runs."""
    kids = []
    for j in range(o.jobs):
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(r)
            status = 1
            try:
                worker(range(first + j, first + count, o.jobs), o, w)
                status = 0
            finally:
                os._exit(status)
        os.close(w)
        kids.append((pid, os.fdopen(r, "rb")))
    return collect(kids, o)


def collect(kids, o):
    import selectors
    sel = selectors.DefaultSelector()
    for pid, f in kids:
        sel.register(f, selectors.EVENT_READ)
    failed, ran = [], 0
    while sel.get_map():
        for key, _ in sel.select():
            head = key.fileobj.read(8)
            if len(head) < 8:
                sel.unregister(key.fileobj)
                continue
            seed, n = struct.unpack("<iI", head)
            ran += 1
            if n:
                failed.append(seed)
                print(key.fileobj.read(n).decode(), flush=True)
    broken = sum(os.waitpid(pid, 0)[1] != 0 for pid, _ in kids)
    return failed, ran, broken


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-j", dest="jobs", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("-k", dest="go_on", action="store_true", help="go on after a failure")
    p.add_argument("-n", dest="no_shrink", action="store_true", help="do not shrink")
    p.add_argument("-v", dest="verbose", action="store_true", help="say each step")
    p.add_argument("-K", dest="keep", action="store_true", help="keep what the histories left")
    p.add_argument("what", nargs="+", metavar="FIRST COUNT | FILE")
    o = p.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if not o.what[0].isdigit():
        failed = 0
        for i, name in enumerate(o.what):
            with open(name) as f:
                steps = [s.strip() for s in f if s.strip() and s[0] != "#"]
            text = run_history("file%d" % i, steps, o.verbose, o.keep)
            print("%s: %s" % (name, text or "ok"))
            failed += text is not None
        sys.exit(failed != 0)
    first, count = (int(w) for w in o.what)
    begin = time.monotonic()
    failed, ran, broken = run_seeds(first, count, o)
    print("%d histories, %d failed%s, %.2f s each" % (
        ran, len(failed), ": seeds " + " ".join(map(str, sorted(failed))) if failed else "",
        (time.monotonic() - begin) * o.jobs / max(ran, 1)))
    sys.exit(bool(failed) or bool(broken) or ran == 0)


main()
