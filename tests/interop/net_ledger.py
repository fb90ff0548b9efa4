#!/usr/bin/env python3
"""net_ledger -- what programs did to mail on two sides, and whether all of it holds in the end.

	net_ledger.py change LEDGER SIDE N SEED MAIL	N changes on SIDE (a or b), drawn from SEED; each is put down in LEDGER when it is done.
							With a-apart, b-apart no two sides bring mail into one mailbox
	net_ledger.py judge LEDGER_A LEDGER_B MAIL	says what is not as it should be
	net_ledger.py kept LEDGER_A LEDGER_B MAIL	only what is lost or has other bytes makes it fail

MAIL is a mounted Maildir++, or `doveadm COMMAND...`, where COMMAND... is to be continued as doveadm's.

Some changes of one message on two sides cannot all hold: who moves it takes it from under who flags it.  So its name says who may do
what: two thirds of the messages belong to one side, that alone changes them; the others both flag, either expunges, nobody moves.
"""
import hashlib
import json
import os
import random
import subprocess
import sys
import time

FLAGS = {"F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "D": "\\Draft"}
KEEP = 6  # a mailbox is not emptied: the guard would ask for a person


def number_of(name):
    return int(hashlib.sha1(name.encode()).hexdigest()[:8], 16)


def is_shared(name):
    return number_of(name) % 3 == 0


def may_change(name, side):
    return is_shared(name) or "ab"[number_of(name) // 3 % 2] == side


def body_of(name):
    """The whole mail: the same for the same name."""
    r = random.Random(name)
    lines = 3000 if number_of(name) % 13 == 0 else r.randrange(1, 30)
    text = "".join("%s %x\n" % (name, r.getrandbits(200)) for _ in range(lines))
    return ("From: a@example.org\nDate: Sun, 01 Mar 2026 12:00:00 +0000\nMessage-ID: <%s@ledger>\nSubject: %s\nX-Ledger: %s\n\n%s" % (
        name, name, name, text)).encode()


def name_in(mail):
    for line in mail.split(b"\n\n", 1)[0].split(b"\n"):
        if line.startswith(b"X-Ledger: "):
            return line[10:].strip().decode()
    return None


class Mounted:
    """INBOX and folders with a dot.  A message is (mailbox, path)."""

    def __init__(self, root):
        self.root = root
        self.known = {}  # base name: name

    def path(self, box):
        return self.root if box == "INBOX" else os.path.join(self.root, "." + box.replace("/", "."))

    def boxes(self):
        return ["INBOX"] + sorted(d[1:].replace(".", "/") for d in os.listdir(self.root) if d[:1] == "." and d != ".dsyncfs"
                                  and os.path.isdir(os.path.join(self.root, d, "cur")))

    def files(self, box):
        for sub in ("cur", "new"):
            for f in sorted(os.listdir(os.path.join(self.path(box), sub))):
                yield os.path.join(self.path(box), sub, f)

    def messages(self, box):
        out = []
        for path in self.files(box):
            base = os.path.basename(path).split(":")[0]
            if base not in self.known:
                try:
                    with open(path, "rb") as f:
                        self.known[base] = name_in(f.read(4096))
                except FileNotFoundError:  # a sync has just renamed it
                    continue
            out.append((self.known[base], path))
        return out

    def deliver(self, box, name):
        base = "1700000000.M%dP%d.%s" % (number_of(name), os.getpid(), name)
        tmp, new = (os.path.join(self.path(box), d, base) for d in ("tmp", "new"))
        with open(tmp, "xb") as f:
            f.write(body_of(name))
            f.flush()
            os.fsync(f.fileno())
        if number_of(name) % 2:
            os.link(tmp, new)
            os.unlink(tmp)
        else:
            os.rename(tmp, new)

    def flag(self, box, path, flag):
        base, _, info = os.path.basename(path).partition(":2,")
        os.rename(path, os.path.join(self.path(box), "cur", base + ":2," + "".join(sorted(set(info) | {flag}))))

    def move(self, box, path, target):
        base, _, info = os.path.basename(path).partition(":2,")
        os.rename(path, os.path.join(self.path(target), "cur", base + ":2," + info))

    def expunge(self, box, path):
        os.unlink(path)

    def create(self, box):
        for d in ("", "cur", "new", "tmp"):
            os.makedirs(os.path.join(self.path(box), d), exist_ok=True)

    def found(self):
        """Each message: name, mailbox, flags, the bytes."""
        for box in self.boxes():
            for path in self.files(box):
                with open(path, "rb") as f:
                    mail = f.read()
                yield name_in(mail), box, os.path.basename(path).partition(":2,")[2], mail


class Doveadm:
    """A message is (mailbox, UID)."""

    def __init__(self, command):
        self.command = command

    def run(self, *args, data=None):
        p = subprocess.run(self.command + list(args), input=data, capture_output=True)
        if p.returncode != 0:
            if p.returncode in (65, 68, 75):
                raise FileNotFoundError(p.stderr.decode())
            sys.exit("doveadm %s: status %d: %s" % (" ".join(args), p.returncode, p.stderr.decode()))
        return p.stdout.decode()

    def boxes(self):
        return sorted(self.run("mailbox", "list").split())

    def messages(self, box):
        rows = self.run("-f", "tab", "fetch", "hdr.x-ledger uid", "mailbox", box).split("\n")[1:]
        return [tuple(r.split("\t")) for r in rows if r]

    def one(self, box, uid):
        return ["mailbox", box, "uid", uid]

    def deliver(self, box, name):
        self.run("save", "-m", box, data=body_of(name))

    def flag(self, box, uid, flag):
        self.run("flags", "add", FLAGS[flag], *self.one(box, uid))
        self.still(box, uid)

    def move(self, box, uid, target):
        self.still(box, uid)
        self.run("move", target, *self.one(box, uid))

    def expunge(self, box, uid):
        self.still(box, uid)
        self.run("expunge", *self.one(box, uid))

    def still(self, box, uid):
        if not self.run("search", *self.one(box, uid)).strip():
            raise FileNotFoundError

    def create(self, box):
        self.run("mailbox", "create", box)


def mail_at(words):
    return Doveadm(words[1:]) if words[0] == "doveadm" else Mounted(words[0])


class Changes:
    def __init__(self, ledger, side, seed, mail):
        self.out = open(ledger, "a")
        self.side, self.seed, self.mail = side[0], seed, mail
        self.apart = side.endswith("-apart")
        self.r = random.Random("%s %s" % (side, seed))
        self.made = 0

    def put_down(self, what, **more):
        json.dump(dict(more, what=what, side=self.side), self.out)
        self.out.write("\n")
        self.out.flush()

    def some_message(self, fits):
        box = self.r.choice(self.mail.boxes())
        all_there = self.mail.messages(box)
        some = [m for m in all_there if m[0] is not None and may_change(m[0], self.side) and fits(m[0])]
        return (box, len(all_there)) + (self.r.choice(some) if some else (None, None))

    def target(self):
        """Where this side may bring mail; b has INBOX."""
        boxes = self.mail.boxes()
        if self.apart:
            boxes = [b for b in boxes if ("a" if b.split("/")[-1][0] == "A" else "b") == self.side]
        return self.r.choice(boxes or [None])

    def deliver(self):
        box = self.target()
        if box is None:
            return
        self.made += 1
        name = "%s-%s-%d" % (self.side, self.seed, self.made)
        self.mail.deliver(box, name)
        self.put_down("deliver", name=name, box=box)

    def flag(self):
        box, _, name, where = self.some_message(lambda name: True)
        flag = self.r.choice("FRSD")
        if name is not None:
            self.mail.flag(box, where, flag)
            self.put_down("flag", name=name, flag=flag)

    def move(self):
        box, count, name, where = self.some_message(lambda name: not is_shared(name))
        target = self.target()
        if name is not None and target not in (None, box) and count > KEEP:
            self.mail.move(box, where, target)
            self.put_down("move", name=name, box=target)

    def expunge(self):
        box, count, name, where = self.some_message(lambda name: True)
        if name is not None and count > KEEP:
            self.mail.expunge(box, where)
            self.put_down("expunge", name=name)

    def create(self):
        boxes = self.mail.boxes()
        box = "%s%s" % (self.side.upper(), self.seed)
        if self.r.random() < 0.4:
            box = self.r.choice([b for b in boxes if b.count("/") < 2 and b != "INBOX"] or ["Top"]) + "/" + box
        if len(boxes) < 12 and box not in boxes:
            self.mail.create(box)
            self.put_down("create", box=box)

    def run(self, n):
        kinds = [self.deliver] * 8 + [self.flag] * 8 + [self.move] * 4 + [self.expunge] * 2 + [self.create]
        for _ in range(n):
            kind = self.r.choice(kinds)
            for _ in range(100):
                try:
                    kind()
                    break
                except FileNotFoundError:  # a sync was there first
                    time.sleep(0.01)
            else:
                sys.exit("%s: a message's name never holds" % kind.__name__)
            time.sleep(self.r.random() / 50)


class Judge:
    def __init__(self):
        self.box, self.flags, self.gone, self.boxes, self.count = {}, {}, set(), set(), 0

    def read(self, ledger):
        for line in open(ledger):
            e = json.loads(line)
            self.count += 1
            if e["what"] == "deliver":
                self.box.setdefault(e["name"], e["box"])  # the other side's ledger may tell of a move before
            elif e["what"] == "move":
                self.box[e["name"]] = e["box"]
            elif e["what"] == "flag":
                self.flags.setdefault(e["name"], set()).add(e["flag"])
            elif e["what"] == "expunge":
                self.gone.add(e["name"])
            elif e["what"] == "create":
                self.boxes.add(e["box"])

    def look(self, mail):
        """Each thing that is wrong, and is it a loss?"""
        seen = {}
        for name, box, flags, text in mail.found():
            if name not in self.box:
                yield "%s: in %s, and nobody has delivered it" % (name, box), True
                continue
            if name in seen:
                yield "%s: in %s and in %s" % (name, seen[name], box), False
            seen[name] = box
            if name in self.gone:
                yield "%s: in %s, but expunged" % (name, box), False
            elif box != self.box[name]:
                yield "%s: in %s, not in %s" % (name, box, self.box[name]), False
            if text.replace(b"\r\n", b"\n") != body_of(name):
                yield "%s: in %s, with other bytes" % (name, box), True
            if not self.flags.get(name, set()) <= set(flags):
                yield "%s: in %s with flags '%s', not all of '%s'" % (name, box, flags, "".join(sorted(self.flags[name]))), False
        for name in sorted(set(self.box) - self.gone - set(seen)):
            yield "%s: lost; was in %s" % (name, self.box[name]), True
        for box in sorted(self.boxes - set(mail.boxes())):
            yield "mailbox %s: lost" % box, True


def main():
    if sys.argv[1] == "change":
        ledger, side, n, seed = sys.argv[2:6]
        Changes(ledger, side, seed, mail_at(sys.argv[6:])).run(int(n))
        return 0
    judge = Judge()
    for ledger in sys.argv[2:4]:
        judge.read(ledger)
    bad = list(judge.look(mail_at(sys.argv[4:])))
    for line, _ in bad:
        print(line)
    print("%d changes, %d mails, %d of them expunged: %d things are wrong" % (judge.count, len(judge.box), len(judge.gone), len(bad)))
    return 1 if not judge.box or any(loss or sys.argv[1] == "judge" for _, loss in bad) else 0


sys.exit(main())
