#!/usr/bin/env python3
# damage -- damages copies of the stores that damage.sh has made, and looks at each with the programs that people have.
#
#	damage.py [-n CASES] [-s SEED] [-j JOBS] [-t STORES]
#						so many cases, drawn by SEED; without -n: each byte of each file inverted, one bit of
#						each, each file cut at each length, each file gone.  -t: of these stores only
#	damage.py -1 STORE FILE HOW AT		one case, as a failure names it, with all that the programs said
#	damage.py -b				are these checks blind?  What must be noticed, is
#
# What is looked at is told by the classes below: what the damage may cost (Loss), and what each command has to do (Case).
import collections, concurrent.futures, getopt, hashlib, json, os, random, re, shutil, struct, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
FLAVOUR = os.environ.get("FLAVOUR", "release")
BIN = os.path.join(HERE, "..", "..", "build", FLAVOUR)
SYNC, MOUNT = BIN + "/dsyncfs-sync", BIN + "/dsyncfs"
TMP = os.environ["TMP"]
SECONDS = 60 if FLAVOUR == "release" else 300
STATUSES = (0, 1, 2, 4, 69, 75)
SANITIZER = re.compile(r"Sanitizer|runtime error|stack smashing|buffer overflow detected|Assertion")
SHARE = 16  # of the cases that change nothing: how many get all commands
STORES = ("closed", "killed", "bare", "steady", "power", "compacted")
MAILDIRS = ("maildir", "maildirbare")
PAGE = 4096
SIDECAR = "dsyncfs-sidecar"


class Failed(Exception):
    pass


def environment(home):
    env = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    env.update(HOME=home, LC_ALL="C.UTF-8", TZ="UTC", ASAN_OPTIONS="exitcode=199:abort_on_error=0", UBSAN_OPTIONS="halt_on_error=1:exitcode=199")
    return env


def location(store):
    return ("maildir:" if os.path.isdir(store + "/" + SIDECAR) else "dsyncfs:") + store


def run(store, *args):
    """Status, standard output, standard error of a command on that store; it has ended by itself."""
    try:
        r = subprocess.run([SYNC, "-o", "mail_location=" + location(store), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, env=environment(TMP + "/home"), timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed("%s does not end" % " ".join(args))
    out, err = r.stdout.decode("utf-8", "replace"), r.stderr.decode("utf-8", "replace")
    SAID.append("$ %s\n%s%s(exit %d)" % (" ".join(args), out, err, r.returncode))
    if r.returncode not in STATUSES or SANITIZER.search(err):
        raise Failed("%s: exit %d: %s" % (" ".join(args), r.returncode, err[-600:]))
    if r.returncode != 0 and not err and "differences" not in out:
        raise Failed("%s: exit %d without a word" % (" ".join(args), r.returncode))
    return r.returncode, out, err


SAID = []

# ---- what a store holds ----

MSG = re.compile(r"(\d+) guid=(\S*) modseq=(\d+) flags=(\S*) keywords=(\S*) received=(-?\d+) size=(\S+) sha1=(\S+)$")
BOX = re.compile(r"mailbox (\S+) guid=(\w+) uidvalidity=(\d+) uidnext=(\d+) highestmodseq=(\d+) subscribed=([01])$")
Msg = collections.namedtuple("Msg", "guid modseq flags keywords received size sha1")


class Mail:
    """A dump: boxes (GUID to name, uidvalidity, uidnext, highestmodseq, subscribed), mails ((GUID, UID) to Msg)."""

    def __init__(self, text):
        self.text, self.box, self.mail = text, {}, {}
        at = None
        for line in text.splitlines():
            m = BOX.match(line)
            if m:
                at = m[2]
                self.box[at] = (m[1], int(m[3]), int(m[4]), int(m[5]), m[6])
                continue
            m = MSG.match(line)
            if m:
                self.mail[at, int(m[1])] = Msg(*m.groups()[1:])
            elif not line.startswith("subscription "):
                raise Failed("a line of dump that is none: %r" % line)

    def sha1s(self):
        return {m.sha1 for m in self.mail.values()}


def dump(store):
    rc, out, err = run(store, "dump")
    # A line that is cut is no line.
    return rc, Mail(out if out.endswith("\n") or not out else out[:out.rindex("\n") + 1]), err


def frames(log):
    """(begin, end, lsn, durable) of each frame of a log's only segment."""
    data, at, out = open(log, "rb").read(), 40, []
    while at < len(data):
        magic, n, lsn, durable = struct.unpack_from("<4sIQQ", data, at)
        assert magic == b"DFR1"
        out.append((at, at + 40 + n, lsn, durable))
        at += 40 + n
    return out


def entries(pack):
    """(begin, end, raw size) of each entry, by the format alone."""
    data, at, out = open(pack, "rb").read(), 24, []
    while data[at:at + 4] == b"BDY1":
        blocks, size, stored = struct.unpack_from("<IQQ", data, at + 4)
        end = at + 64 + 12 * blocks + stored
        out.append((at, end, size))
        at = (end + 7) // 8 * 8
    return out


def checkpoint(index):
    """LSN up to which an index holds the log."""
    heads = []
    with open(index, "rb") as f:
        for i in range(2):
            f.seek(i * PAGE)
            p = f.read(PAGE)
            if p[:7] == b"DSFSIDX":
                heads.append((struct.unpack_from("<Q", p, 8)[0], struct.unpack_from("<Q", p, 30 + 17)[0]))
    return max(heads)[1]


class Store:
    """A store that damage.sh has made, and all that is known of it while it is whole."""

    def __init__(self, name):
        self.name, self.top = name, "%s/%s" % (TMP, name)
        work = "%s/look.%s" % (TMP, name)
        self.copy(work)
        rc, self.was, err = dump(work)
        # What a mount says and shows; in "power" it brings back what had been fsynced.
        rc2, log, err2 = run(work, "--json", "log")
        if rc or rc2 or err or err2:
            raise SystemExit("%s is not whole: %s%s" % (name, err, err2))
        self.change = [json.loads(l) for l in log.splitlines()]
        self.change = [c for c in self.change if c["event"] == "log"]
        self.files = sorted(os.path.relpath(os.path.join(d, f), self.top) for d, _, fs in os.walk(self.top) for f in fs)
        self.files = [f for f in self.files if os.path.isfile(self.top + "/" + f)]
        self.log = [f for f in self.files if f.startswith("log-")]
        assert len(self.log) == 1, self.log
        self.log = self.log[0]
        self.frames = frames(self.top + "/" + self.log)
        index = [f for f in self.files if f.startswith("index-")]
        self.index = index[0] if index else None
        self.ckpt = checkpoint(self.top + "/" + index[0]) if index else 1
        self.packs = {f: entries(self.top + "/" + f) for f in self.files if f.startswith("packs/")}
        name_of = {b[0]: g for g, b in self.was.box.items()}
        self.by_size = {}
        for m in json.load(open(TMP + "/bodies")):
            assert m["size"] not in self.by_size
            self.by_size[m["size"]] = m["sha1"]
        # Each message that ever was; dumps count LF, and all these mails have only LF.
        self.ever = {(g, u): (m.guid, m.sha1) for (g, u), m in self.was.mail.items()}
        for c in self.change:
            m = re.match(r"save uid=(\d+) guid=(\S+) .*size=(\d+)", c["change"])
            c["sha1"] = m and self.by_size[int(m[3])]
            if m:
                self.ever[name_of[c["mailbox"]], int(m[1])] = (m[2], self.by_size[int(m[3])])
            c["box"] = name_of.get(c["mailbox"])
        self.all_sha1 = set(self.by_size.values())
        shutil.rmtree(work)

    def copy(self, to):
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.top, to, symlinks=True, ignore=lambda d, names: [n for n in names if n == "socket"])
        return to


# ---- what damage may cost ----

class Loss:
    """
    Packs: the bodies of whose entry a byte is hit; the message stays.  The log: what its frames said that are hit and that the
    index does not hold.  At its end, where nothing proves that a frame was durable, what is hit (also the body of what a frame
    saves) looks as a loss of power leaves it, and the frames behind it go too; their bodies are there for a repair.  All else
    costs nothing: it is made anew from these.
    """

    def __init__(self, s, file, how, at):
        self.bodies, self.frames, self.tail = set(), set(), False
        # A log that ends between two frames, of which nothing says that they were durable, is like one that just ends there.
        self.untold = False
        size = os.path.getsize(s.top + "/" + file)
        hit = (lambda a, b: a <= at < b) if how in ("all", "bit") else (lambda a, b: b > at)
        if how == "gone":
            at = 0
        if file in s.packs:
            self.bodies = {s.by_size[n] for a, b, n in s.packs[file] if hit(a, b)}
        lost = [f for f in s.frames if hit(f[0], f[1])] if file == s.log else []
        proven = max([f[3] for f in s.frames if f not in lost] + [s.ckpt])
        bodiless = {c["lsn"] for c in s.change if c["sha1"] in self.bodies}
        tail = [f[2] for f in s.frames if f[2] >= proven and (f in lost or f[2] in bodiless)]
        if tail:
            self.tail = True
            lost += [f for f in s.frames if f[2] >= min(tail)]
        self.frames = {f[2] for f in lost if f[2] >= s.ckpt}
        self.untold = how == "cut" and self.tail and file == s.log and any(at == f[0] for f in s.frames)
        self.saves, self.touched, self.boxes, self.names, self.keywords, self.expunges = set(), set(), set(), set(), set(), set()
        for c in s.change:
            if c["lsn"] not in self.frames:
                continue
            uid = re.search(r"uid=(\d+)", c["change"])
            word = c["change"].split(" ")[0]
            key = (c["box"], int(uid[1])) if uid else None
            if word == "create":
                self.boxes.add(c["box"])
            elif word == "rename":
                self.names.add(c["box"])
            elif word == "keyword":
                self.keywords.add(c["box"])
            elif word == "save":
                self.saves.add(key)
            elif word == "expunge":
                self.expunges.add(key)
            elif word in ("flags", "set"):
                self.touched.add(key)
            elif word == "subscribe":
                self.names.add(None)

        # What was moved into a mailbox that is lost is where it was.
        moved = {c["lsn"] for c in s.change if c["box"] in self.boxes and c["sha1"]}
        for c in s.change:
            if c["lsn"] in moved and c["change"].startswith("expunge "):
                self.expunges.add((c["box"], int(re.search(r"uid=(\d+)", c["change"])[1])))

    def nothing(self):
        return not self.bodies and not self.frames


def compare(s, loss, now, said, complete, repaired, strict):
    """
    What a dump shows against what there was; the names of what is not as it was.  complete: all lines should be there.
    """
    missing = []
    for (g, uid), m in now.mail.items():
        if now.box[g][0] == "Recovered" and g not in s.was.box:
            if m.sha1 not in s.all_sha1:
                raise Failed("Recovered has what never was: %s" % (m,))
            continue
        key = (g, uid)
        if key not in s.ever or s.ever[key][0] != m.guid or m.sha1 not in (s.ever[key][1], "?"):
            raise Failed("other mail than there was: %s %d %s, not %s" % (now.box[g][0], uid, m, s.ever.get(key)))
        if key not in s.was.mail:
            if key not in loss.expunges and g not in loss.boxes:
                raise Failed("an expunged message is there again: %s %d" % key)
            missing.append("%s/%d is not expunged" % key)
            continue
        old = s.was.mail[key]
        if m.sha1 == "?":
            if old.sha1 not in loss.bodies:
                raise Failed("the body of %s %d (%s) is lost, and nothing of it was damaged" % (g, uid, m.guid))
            missing.append("body of " + m.guid)
        if (m.flags, m.keywords) != (old.flags, old.keywords):
            if not (key in loss.touched or key in loss.saves or g in loss.boxes or (g in loss.keywords and m.flags == old.flags)):
                raise Failed("flags of %s %d (%s): %s %s, not %s %s" % (g, uid, m.guid, m.flags, m.keywords, old.flags, old.keywords))
            missing.append("flags of " + m.guid)
        if m.received != old.received and key not in loss.touched:
            raise Failed("another date of %s: %s, not %s" % (m.guid, m.received, old.received))
    if not complete:
        return missing + ["the rest"]
    for key, m in s.was.mail.items():
        if key in now.mail:
            continue
        if key not in loss.saves and key[0] not in loss.boxes:
            raise Failed("message %s %d (%s) is lost, and nothing of it was damaged" % (key + (m.guid,)))
        missing.append("message " + m.guid)
        if repaired and m.sha1 not in now.sha1s() and m.sha1 not in loss.bodies and not loss.untold:
            raise Failed("the body of %s is whole, and in no mailbox after the repair" % m.guid)
    for g, b in s.was.box.items():
        if g not in now.box:
            if g not in loss.boxes:
                raise Failed("mailbox %s is lost" % b[0])
            missing.append("mailbox " + b[0])
        elif g not in loss.boxes:
            n = now.box[g]
            if n[0] != b[0] and g not in loss.names or n[1] != b[1] or n[4] != b[4] and None not in loss.names:
                raise Failed("mailbox %s: %s" % (b, n))
            if loss.nothing() and n[2:4] != b[2:4] and strict:
                raise Failed("mailbox %s: %s" % (b, n))
            if n != b:
                missing.append("what is known of mailbox " + b[0])
    if loss.nothing() and not missing and strict and not repaired and now.text != s.was.text:
        raise Failed("not what there was:\n%s" % now.text)
    return missing


def names(s, loss, file, missing, said):
    """Does what was said name the file, or each of what is missing?"""
    base = file.split("/")[0] if file == s.log else os.path.basename(file)
    if base in said or loss.tail and s.log.split("/")[0] in said:
        return True
    return bool(missing) and all(m.startswith("body of ") and "guid %s" % m[8:] in said for m in missing)


# ---- a case ----

class Case:
    def __init__(self, s, file, how, at, work, peer, thorough):
        self.s, self.file, self.how, self.at, self.work, self.peer, self.thorough = s, file, how, at, work, peer, thorough
        self.loss = Loss(s, file, how, at)

    def damaged(self):
        """A copy with the damage."""
        w = self.s.copy(self.work)
        path = w + "/" + self.file
        if self.how == "gone":
            os.unlink(path)
            return w
        with open(path, "r+b") as f:
            if self.how == "cut":
                f.truncate(self.at)
            else:
                f.seek(self.at)
                b = f.read(1)[0]
                f.seek(self.at)
                f.write(bytes([b ^ (255 if self.how == "all" else 1 << self.at % 8)]))
        return w

    def look(self, w, repaired=False, before=""):
        """dump and verify: what is not as it was is said, by these two or before."""
        rc, now, err = dump(w)
        vrc, vout, verr = run(w, "verify")
        said = before + err + verr
        missing = compare(self.s, self.loss, now, said, rc == 0, repaired, vrc == 0)
        if missing and not names(self.s, self.loss, self.file, missing, said) and not self.loss.untold:
            raise Failed("not said: %s\n%s" % (missing, said))
        if rc == 0 and vrc == 0 and missing and not self.loss.tail and not repaired:
            raise Failed("verify finds nothing wrong: %s" % missing)
        return rc, vrc, missing, now, said

    def rebuilt(self):
        w = self.damaged()
        rc, out, err = run(w, "verify", "--rebuild")
        _, vrc, missing, now, said = self.look(w, before=err)
        if self.file == self.s.index and (rc or vrc or missing or said != err):
            raise Failed("--rebuild of a damaged index: exit %d, then %d: %s %s" % (rc, vrc, missing, said))

    def repaired(self):
        w = self.damaged()
        rc, out, err = run(w, "verify", "--repair", "--dry-run")
        rc, out, err = run(w, "verify", "--repair")
        # What is only slower is made anew by compacting.
        if self.file in self.s.packs and not self.loss.bodies:
            crc, out, _ = run(w, "compact")
            if crc:
                raise Failed("compact ends with %d" % crc)
        drc, vrc, missing, now, said = self.look(w, True, err)
        if rc == 0 and drc and not self.loss.bodies:
            raise Failed("repaired, and dump ends with %d" % drc)
        if not self.loss.bodies and said != err:
            raise Failed("repaired, and more is said: %s" % said[len(err):])
        if rc == 0 and vrc and not self.loss.bodies:
            raise Failed("repaired, and verify ends with %d: %s" % (vrc, said))
        if rc:
            raise Failed("--repair ends with %d: %s" % (rc, err))
        return w

    def synced(self, w, what):
        """A sync with the peer that was in step takes nothing away from it."""
        s = self.s
        for command in ("mirror", "backup"):
            p, mine = self.work + ".peer", self.work + ".mine"
            shutil.rmtree(p, ignore_errors=True)
            shutil.copytree(TMP + "/peer", p)
            shutil.rmtree(mine, ignore_errors=True)
            shutil.copytree(w, mine)
            rc, out, err = run(mine, command, "dsyncfs:" + p)
            if rc == 2:
                rc, out, err = run(mine, command, "dsyncfs:" + p)
            prc, now, perr = dump(p)
            vrc, _, verr = run(p, "verify")
            if prc or vrc or perr or verr:
                raise Failed("%s, %s: the peer is not whole: %s%s" % (what, command, perr, verr))
            was = self.peer
            for key, m in was.mail.items():
                kept = now.mail.get(key)
                if kept is not None and kept.guid == m.guid and kept.sha1 == m.sha1:
                    want = s.was.mail.get(key, m)
                    if (kept.flags, kept.keywords) not in ((m.flags, m.keywords), (want.flags, want.keywords)) and key not in self.loss.touched:
                        raise Failed("%s, %s: flags of the peer's %s: %s" % (what, command, m.guid, kept))
                elif command == "backup" and (what == "damaged" or self.loss.untold) and self.loss.tail and key in self.loss.saves:
                    # It makes the peer like a store that has lost the end of its log as by a loss of power.
                    continue
                elif not any(n.guid == m.guid and n.sha1 == m.sha1 for n in now.mail.values()) and (
                        command == "mirror" or m.sha1 not in now.sha1s()):
                    raise Failed("%s, %s (exit %d): the peer has lost %s: %s" % (what, command, rc, m.guid, err))
            if rc == 0 and command == "mirror":
                drc, here, derr = dump(mine)
                have = {(g, m.guid, m.flags, m.keywords, m.sha1) for (g, _), m in here.mail.items()}
                for (g, _), m in now.mail.items():
                    if drc == 0 and (g, m.guid, m.flags, m.keywords, m.sha1) not in have and m.sha1 not in self.loss.bodies:
                        raise Failed("%s: after a mirror that says 0, %s is not here as it is there" % (what, m))
            shutil.rmtree(p)
            shutil.rmtree(mine)

    def mounted(self, w):
        """What a mount shows, {base name: SHA-1 or errno}, by folder; what it said."""
        mnt = self.work + ".mnt"
        os.makedirs(mnt, exist_ok=True)
        err = open(self.work + ".err", "w+b")
        p = subprocess.Popen([MOUNT, "-f", "dsyncfs:" + w, mnt], stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=environment(TMP + "/home"))
        end = time.time() + SECONDS
        shown, status = {}, ""
        try:
            while p.poll() is None and not os.path.ismount(mnt):
                if time.time() > end:
                    raise Failed("the mount neither answers nor ends")
                time.sleep(0.005)
            if p.poll() is None:
                shown, status = self.read(mnt)
        finally:
            while os.path.ismount(mnt) and time.time() < end:
                if subprocess.run(["fusermount3", "-u", mnt], stderr=subprocess.DEVNULL).returncode:
                    time.sleep(0.02)
            try:
                rc = p.wait(max(1, end - time.time()))
            except subprocess.TimeoutExpired:
                p.kill()
                subprocess.run(["fusermount3", "-uz", mnt], stderr=subprocess.DEVNULL)
                raise Failed("the mount does not end")
        err.seek(0)
        said = err.read().decode("utf-8", "replace")
        err.close()
        SAID.append("$ dsyncfs\n%s%s\n%s(exit %d)" % (said, status, shown, rc))
        if rc not in (0, 1) or SANITIZER.search(said):
            raise Failed("the mount: exit %d: %s" % (rc, said))
        if rc and not said:
            raise Failed("the mount: exit %d without a word" % rc)
        return rc, shown, said + status

    @staticmethod
    def read(mnt):
        shown = {}
        for d, dirs, files in os.walk(mnt, onerror=lambda e: shown.__setitem__(e.filename, e.errno)):
            part = os.path.basename(d)
            for f in files if part in ("cur", "new", "tmp") else ():
                try:
                    with open(d + "/" + f, "rb") as o:
                        got = hashlib.sha1(o.read()).hexdigest()
                except OSError as e:
                    got = e.errno
                shown[os.path.relpath(os.path.dirname(d), mnt), "tmp" if part == "tmp" else "", f.split(":2,")[0]] = got
        try:
            status = open(mnt + "/.dsyncfs/status").read()
        except OSError:
            status = ""
        return shown, status

    def through_mount(self):
        s = self.s
        w = self.damaged()
        rc, shown, said = self.mounted(w)
        if rc == 0:
            missing = []
            for where, got in shown.items():
                if not isinstance(where, tuple):
                    missing.append("folder %s" % where)
                elif isinstance(got, int):
                    missing.append("mail %s" % (where,))
                elif got != s.shown.get(where) and not (got in s.all_sha1 and where not in s.shown):
                    raise Failed("the mount shows other mail: %s: %s, not %s" % (where, got, s.shown.get(where)))
            # Into a mount that is read-only nothing comes back.
            missing += ["mail %s" % (k,) for k in s.shown if k not in shown and not (k[1] == "tmp" and "read-only" in said)]
            if missing and self.file == "scratch/synced":
                self.check_synced(missing, said)
            elif missing and self.loss.nothing() and self.file != s.index:
                raise Failed("the mount shows less: %s\n%s" % (missing, said))
            if missing and not names(s, self.loss, self.file, [], said) and not re.search(r"(is|are) damaged|guid", said) and not self.loss.untold:
                raise Failed("the mount shows less, and does not say so: %s\n%s" % (missing, said))
        rc, now, err = dump(w)
        # What scratch/synced has brought back has new UIDs.
        if self.file != "scratch/synced" and not (self.loss.tail and s.records):
            compare(s, self.loss, now, err, rc == 0, False, False)

    def check_synced(self, missing, said):
        """A record costs its file at most."""
        hit = [f for a, b, f in self.s.records if (a <= self.at < b if self.how in ("all", "bit") else b > self.at)]
        for m in missing:
            if not any("'%s'" % f in m for f in hit):
                raise Failed("lost, and nothing of it was damaged: %s (hit: %s)\n%s" % (m, hit, said))

    def go(self):
        shutil.rmtree(self.work, ignore_errors=True)
        if self.file.startswith("scratch/"):
            self.through_mount()
            if not self.thorough:
                return
        w = self.damaged()
        before = None
        rc, vrc, missing, now, said = self.look(w)
        if self.file == self.s.log and self.how in ("all", "bit") and vrc == 0 and not said:
            raise Failed("a log that is damaged verifies")
        costs = rc or vrc or missing or said
        if costs or self.thorough:
            self.rebuilt()
            w = self.repaired()
            if self.thorough:
                self.synced(w, "repaired")
                self.synced(self.damaged(), "damaged")
                self.through_mount()


class Maildir:
    """A Maildir whose sidecar is damaged; all mail is in files that are not."""

    def __init__(self, name):
        self.name, self.top = name, "%s/%s" % (TMP, name)
        rc, self.was, err = dump(TMP + "/maildir")
        if rc or err:
            raise SystemExit("%s is not whole: %s" % (name, err))
        self.files = sorted(SIDECAR + "/" + os.path.relpath(os.path.join(d, f), self.top + "/" + SIDECAR)
                            for d, _, fs in os.walk(self.top + "/" + SIDECAR) for f in fs)
        index = [f for f in self.files if "/index-" in f]
        self.index, self.packs = index[0] if index else None, {}
        self.log = next(f for f in self.files if "/log-" in f)
        self.held = self.mails(self.top)

    copy = Store.copy

    @staticmethod
    def mails(top):
        out = []
        for d, _, files in os.walk(top):
            out += [hashlib.sha1(open(d + "/" + f, "rb").read()).hexdigest() for f in files if os.path.basename(d) in ("cur", "new")]
        return sorted(out)


def told(mail):
    """What must be the same: all but modseqs."""
    return {(mail.box[g][0], uid, m.guid, m.flags, m.keywords, m.received, m.sha1) for (g, uid), m in mail.mail.items()}


class SidecarCase(Case):
    def __init__(self, s, file, how, at, work, peer, thorough):
        self.s, self.file, self.how, self.at, self.work, self.thorough = s, file, how, at, work, thorough

    def mirrored(self, w, what):
        """A sync takes nothing away, on either side."""
        p = self.work + ".peer"
        shutil.rmtree(p, ignore_errors=True)
        shutil.copytree(TMP + "/maildirpeer", p)
        was = dump(p)[1]
        rc, out, err = run(w, "mirror", "dsyncfs:" + p)
        if rc == 2:
            rc, out, err = run(w, "mirror", "dsyncfs:" + p)
        prc, now, perr = dump(p)
        if self.s.mails(w) != self.s.held:
            raise Failed("%s: the Maildir has lost mail: %s" % (what, err))
        gone = {x[2:] for x in told(was)} - {x[2:] for x in told(now)}
        if prc or gone:
            raise Failed("%s: a mirror (exit %d) takes away from the peer: %s %s" % (what, rc, perr, gone))
        return rc, err

    def go(self):
        s, want = self.s, told(self.s.was)
        w = self.damaged()
        rc, now, err = dump(w)
        vrc, _, verr = run(w, "verify")
        if rc == 0:
            known = {(x[2], x[6]) for x in want}
            for x in told(now):
                if (x[2], x[6]) not in known:
                    raise Failed("other mail than there was: %s" % (x,))
            if told(now) != want and not err and not verr:
                raise Failed("not said: %s" % (told(now) ^ want))
        if not (rc or vrc or err or verr or self.thorough):
            return
        self.mirrored(w, "damaged")
        w = self.damaged()
        rrc, _, rerr = run(w, "verify", "--repair")
        mrc, merr = self.mirrored(w, "repaired")
        rc, now, err = dump(w)
        vrc, _, verr = run(w, "verify")
        if rrc or mrc or rc or vrc or err or verr or told(now) != want:
            raise Failed("repaired: %d, mirror %d, dump %d, verify %d: %s %s" % (rrc, mrc, rc, vrc, rerr + merr + err + verr, told(now) ^ want))


def synced_records(path):
    data, at, out = open(path, "rb").read(), 0, []
    while data[at:at + 4] == b"SYN1":
        kind, n, ln = struct.unpack_from("<III", data, at + 4)
        end = (at + 56 + ln + n + 8 + 7) // 8 * 8
        out.append((at, end, data[at + 56:at + 56 + ln].decode()))
        at = end
    return out


def cases_of(s):
    for f in s.files:
        size = os.path.getsize(s.top + "/" + f)
        if f == "scratch/synced":
            if s.name != "power":
                continue
            size = s.records[-1][1] + 16
        elif s.name == "power" or s.name in ("bare", "steady", "maildirbare") and f != s.log or s.name == "compacted" and f.startswith("packs/"):
            continue
        elif s.name == "killed" and f not in (s.log, s.index) and f != sorted(s.packs)[-1]:
            continue
        # The index of one store, and of the others a share.
        for at in range(0, size, 8 if f == s.index and s.name not in ("closed", "maildir") else 1):
            yield s.name, f, "all", at
            yield s.name, f, "bit", at
            yield s.name, f, "cut", at
        # Without scratch/synced a store is as a mount leaves it that has ended well.
        if size and f != "scratch/synced":
            yield s.name, f, "gone", 0


class Suite:
    def __init__(self):
        os.makedirs(TMP + "/home", exist_ok=True)
        self.peer = self.was = dump(TMP + "/peer")[1]
        self.ever = {}
        self.stores = {}
        for n in STORES:
            s = self.stores[n] = Store(n)
            s.records = synced_records(s.top + "/scratch/synced") if "scratch/synced" in s.files else []
            c = Case(s, s.log, "none", 0, "%s/first.%s" % (TMP, n), self.peer, True)
            rc, s.shown, said = c.mounted(s.copy(c.work))
            assert rc == 0 and s.shown, said
        for n in MAILDIRS:
            self.stores[n] = Maildir(n)

    def one(self, case, thorough=True):
        del SAID[:]
        c = (SidecarCase if case[0] in MAILDIRS else Case)(self.stores[case[0]], case[1], case[2], case[3], "%s/work.%d" % (TMP, os.getpid()), self.peer, thorough)
        try:
            c.go()
        except Failed as e:
            return case, str(e)
        finally:
            for d in (c.work, c.work + ".peer", c.work + ".mine"):
                shutil.rmtree(d, ignore_errors=True)
        return case, None


# ---- are these checks blind? ----

def other(m, **change):
    return m._replace(**change)


def liar(text):
    """A program in the place of ours."""
    path = "%s/liar.%d" % (TMP, os.getpid())
    with open(path, "w") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


def blind():
    """What is wrong in one way each has to be noticed; the ways that were not."""
    global SYNC, SECONDS
    closed, bare, power = (SUITE.stores[n] for n in ("closed", "bare", "power"))
    pack = sorted(closed.packs)[0]
    begin, end, size = closed.packs[pack][0]
    key = min(k for k, m in closed.was.mail.items() if m.sha1 == closed.by_size[size])
    frame = next(f for f in bare.frames[4:])
    calm = ("closed", "aux/1/notes", "all", 0)
    hurt = ("closed", pack, "all", end - 1)
    lost = ("bare", bare.log, "all", frame[0] + 50)
    record = ("power", "scratch/synced", "all", 60)
    sync, seconds, missed = SYNC, SECONDS, []

    def wrong(name, case, change, undo):
        change()
        try:
            why = SUITE.one(case)[1]
        finally:
            undo()
        if why is None:
            missed.append(name)
        else:
            print("noticed: %s: %s" % (name, why.splitlines()[0][:110]))

    def with_mail(name, case, s, k, m):
        was, ever = dict(s.was.mail), dict(s.ever)
        wrong(name, case, lambda: (s.was.mail.__setitem__(k, m), s.ever.__setitem__(k, (m.guid, m.sha1))),
              lambda: (s.was.mail.clear(), s.was.mail.update(was), s.ever.clear(), s.ever.update(ever)))

    def with_program(name, text, limit=SECONDS):
        def change():
            global SYNC, SECONDS
            SYNC, SECONDS = liar(text), limit

        def undo():
            global SYNC, SECONDS
            SYNC, SECONDS = sync, seconds
        wrong(name, calm, change, undo)

    m = closed.was.mail[key]
    for name, case in (("a calm case", calm), ("a body", hurt), ("a frame", lost), ("a record", record)):
        why = SUITE.one(case)[1]
        if why:
            missed.append("%s fails as it is: %s" % (name, why))
    with_mail("other bytes", calm, closed, key, other(m, sha1="0" * 40))
    with_mail("another GUID", calm, closed, key, other(m, guid="other"))
    with_mail("other flags", calm, closed, key, other(m, flags="\\Draft"))
    with_mail("a lost message", calm, closed, (key[0], 999), other(m, guid="more"))
    with_mail("a lost message at the peer", ("closed", closed.index, "none", 0), SUITE, (key[0], 999), other(m, guid="more"))
    empty, real = set(), Loss.__init__

    def no_loss(self, *args):
        real(self, *args)
        self.bodies, self.frames, self.tail = empty, empty, False
        self.saves = self.touched = self.boxes = self.names = self.keywords = self.expunges = empty
    for name, case in (("a body that nothing hit", hurt), ("a frame that nothing hit", lost)):
        wrong(name, case, lambda: setattr(Loss, "__init__", no_loss), lambda: setattr(Loss, "__init__", real))
    records = power.records
    wrong("a record that nothing hit", record, lambda: setattr(power, "records", []), lambda: setattr(power, "records", records))
    with_program("a line is left out", 'exec "%s" "$@" | grep -v "guid=in1 "\n' % sync)
    with_program("a line is other mail", 'exec "%s" "$@" | sed s/guid=in1/guid=in2/\n' % sync)
    with_program("a signal", "kill -SEGV $$\n")
    with_program("a strange status", "echo x >&2; exit 199\n")
    with_program("a silent failure", "exit 1\n")
    with_program("no end", "exec sleep 30\n", 1)
    # Nothing is said: the body is "?", the status 0.
    with_silent = 'exec 2>/dev/null; "%s" "$@"; exit 0\n' % sync
    wrong("damage is not said", hurt, lambda: globals().__setitem__("SYNC", liar(with_silent)), lambda: globals().__setitem__("SYNC", sync))
    return missed


SUITE = None


def worker(task):
    case, thorough = task
    return SUITE.one(case, thorough)


def main():
    global SUITE
    opts, args = getopt.getopt(sys.argv[1:], "n:s:j:t:1b")
    opts = dict(opts)
    SUITE = Suite()
    if "-b" in opts:
        missed = blind()
        print("\n".join("NOT NOTICED: %s" % m for m in missed) or "all noticed")
        return bool(missed)
    if "-1" in opts:
        # A peer's file has the name of its id, which is another each time.
        file = args[1] if args[1] in SUITE.stores[args[0]].files else next(f for f in SUITE.stores[args[0]].files if f.startswith(os.path.dirname(args[1])))
        case = (args[0], file, args[2], int(args[3]))
        _, why = SUITE.one(case)
        print("\n".join(SAID))
        print("FAILED: %s" % why if why else "good")
        return why is not None
    cases = [c for s in SUITE.stores.values() for c in cases_of(s) if c[0].startswith(opts.get("-t", ""))]
    seed, r = int(opts.get("-s", 1)), random.Random(int(opts.get("-s", 1)))
    if "-n" in opts:
        # From each kind of file as many: most bytes are the index's.
        by = collections.defaultdict(list)
        for c in cases:
            by[c[:3]].append(c)
        n, cases = int(opts["-n"]), []
        groups = list(by.values())
        for g in groups:
            r.shuffle(g)
        while len(cases) < n and any(groups):
            for g in groups:
                if g:
                    cases.append(g.pop())
        cases = cases[:n]
    share = 3 if "-n" in opts else SHARE
    tasks = [(c, r.randrange(share // 3 if "/log-" in "/" + c[1] else share) == 0) for c in cases]
    failed, done, begun = [], collections.Counter(), time.time()
    with concurrent.futures.ProcessPoolExecutor(int(opts.get("-j", os.cpu_count()))) as pool:
        for case, why in pool.map(worker, tasks, chunksize=4):
            done[case[0] + " " + re.sub(r"/[0-9a-f]*(\.|$)", r"/*\1", case[1])] += 1
            if why:
                failed.append(case)
                print("FAILED %s %s %s %d: %s" % (case + (why,)), flush=True)
    for k, v in sorted(done.items()):
        print("%7d %s" % (v, k))
    print("%d cases (seed %d), %d failed, %d s" % (sum(done.values()), seed, len(failed), time.time() - begun))
    return bool(failed) or not done


if __name__ == "__main__":
    sys.exit(main())
