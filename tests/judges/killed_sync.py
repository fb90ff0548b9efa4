#!/usr/bin/env python3
"""killed_sync -- syncs that are killed in the middle, by dsyncfs-sync, Dovecot's dsync or mbsync: what the next runs make of it.

	killed_sync.py TOOL LAB_SH ROUNDS SEED	TOOL: dsyncfs, dsync, mbsync; the kit's dovecot-lab.sh, with its lab running

	LAB LAB_PORT		the lab's, as dovecot-lab.sh has them
	PROGRAM PASSWORD	dsyncfs-sync and a file with the lab's doveadm_password, where the owner of the mail can read them

In each round a Maildir and an sdbox that are in step are changed both, and synced; after a random part of the time that an undisturbed
sync takes, one of its two processes gets SIGKILL: the one that was started (near), or the one that serves it (far).  When the other has
ended, too, the sync is run until it says that it is done, five times at most.  Kills that found the sync done already are drawn again.

Both sides are read by IMAP; a message is known by its text.  What should be there is what neither side expunged:
	lost		is missing on one side or on both
	doubled		is there more than once
	returned	is there though one side expunged it
	flags_undone	has not the flags (no keywords) that one side alone changed
	equal		rounds after which both sides have the same messages with the same flags; but for mbsync, which promises neither,
			with the same keywords and UIDs, too
"""
import collections, hashlib, imaplib, os, random, re, shutil, signal, socket, subprocess, sys, time
TOOL, LAB_SH, ROUNDS, SEED = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])
LAB, PORT = os.environ["LAB"], int(os.environ["LAB_PORT"])
OWNER = 65534           # of the lab's mail
BASE, NEW, FLAGGED, EXPUNGED, MOVED = 60, 20, 15, 6, 6
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft")
KEYWORDS = ("Junk", "lab-a", "lab-b")
DRAWS = 10              # of the moment of one kill, until it hits
RUNS = 5                # until the sync has to be done
DEADLINE = 300          # seconds, for any program: generous
rnd = random.Random(f"killed:{TOOL}:{SEED}")


class Failure(Exception):
    pass


def lab(*args):
    r = subprocess.run([LAB_SH, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE, text=True)
    if r.returncode != 0:
        raise Failure(f"dovecot-lab.sh {' '.join(args)}: exit {r.returncode}: {r.stdout}")
    return r.stdout


def until(what, condition):
    end = time.monotonic() + DEADLINE
    while not (got := condition()):
        if time.monotonic() > end:
            raise Failure("waited in vain until " + what)
        time.sleep(0.002)
    return got


# ---- mail ----

class Imap(imaplib.IMAP4):
    def __init__(self, user):
        super().__init__("127.0.0.1", PORT, timeout=DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.login(user, "pw-" + user)

    def do(self, name, *args):
        kind, data = getattr(self, name)(*args)
        if kind != "OK":
            raise Failure(f"IMAP {name} {args}: {kind} {data}")
        return data

    def boxes(self):
        return sorted(re.fullmatch(r'\(.*?\) "/" "?(.*?)"?', line.decode())[1] for line in self.do("list"))


Message = collections.namedtuple("Message", "box text flags keywords uid id")


def read(user):
    """All messages, and the UIDVALIDITY of each mailbox."""
    out, validity = [], {}
    with Imap(user) as c:
        for box in c.boxes():
            n = int(c.do("select", f'"{box}"', True)[0])
            validity[box] = c.response("UIDVALIDITY")[1][0]
            for part in c.do("uid", "FETCH", "1:*", "(UID FLAGS BODY.PEEK[])") if n else []:
                if isinstance(part, tuple):
                    # mbsync adds this line.
                    text = re.sub(rb"^X-TUID: .*\r\n", b"", re.sub(rb"\r?\n", b"\r\n", part[1]), flags=re.M)
                    words = re.search(r"FLAGS \((.*?)\)", part[0].decode())[1].split()
                    mid = re.search(rb"^Message-ID: (.*?)\r$", text, re.M)
                    out.append(Message(box, hashlib.sha1(text).hexdigest(), frozenset(w for w in words if w[0] == "\\") - {"\\Recent"},
                                       frozenset(w for w in words if w[0] != "\\"), int(re.search(rb"UID (\d+)", part[0])[1]),
                                       mid[1].decode() if mid else "one without Message-ID"))
    return out, validity


def new_message(side):
    n, size = rnd.getrandbits(64), rnd.choice((100, 1000, 5000, 5000, 50000, 300000))
    text = "".join("line %d of %x\r\n" % (i, n) for i in range(size // 25))
    return f"From: {side}@lab.example\r\nTo: you@lab.example\r\nSubject: new {side}\r\nMessage-ID: <{side}.{n:x}@lab.example>\r\n\r\n{text}".encode()


def change(user, side):
    """Random changes of one side.  A message is moved by one side alone, and changed once: so it is plain what both together make."""
    messages = read(user)[0]
    rnd.shuffle(messages)
    mine = [m for m in messages if int(m.text[0], 16) % 2 == (side == "far")][:MOVED]
    rest = [m for m in messages if m not in mine]
    expunged, flagged = rest[:EXPUNGED], rest[EXPUNGED:EXPUNGED + FLAGGED]
    with Imap(user) as c:
        boxes = c.boxes()
        for box in boxes:
            c.do("select", f'"{box}"')
            for m in flagged:
                if m.box == box:
                    c.do("uid", "STORE", str(m.uid), rnd.choice(("+FLAGS", "-FLAGS", "FLAGS")),
                         f"({' '.join(rnd.sample(FLAGS + KEYWORDS, rnd.randrange(1, 4)))})")
            gone = ",".join(str(m.uid) for m in expunged if m.box == box)
            if gone:
                c.do("uid", "STORE", gone, "+FLAGS", "(\\Deleted)")
                c.do("uid", "EXPUNGE", gone)
            for m in mine:
                if m.box == box:
                    move(c, m, rnd.choice([b for b in boxes if b != box]), TOOL == "mbsync" and side == "near")
        for i in range(NEW):
            c.do("append", f'"{rnd.choice(boxes)}"', rnd.choice(("", "(\\Seen)", "(\\Flagged lab-a)")), None, new_message(side))


def move(c, m, to, by_text):
    """by_text: Dovecot would keep the file's name, and mbsync's UID in it, which mbsync does not forgive."""
    if not by_text:
        c.do("uid", "MOVE", str(m.uid), f'"{to}"')
        return
    text = next(part[1] for part in c.do("uid", "FETCH", str(m.uid), "(BODY.PEEK[])") if isinstance(part, tuple))
    c.do("append", f'"{to}"', f"({' '.join(sorted(m.flags | m.keywords))})", None, text)
    c.do("uid", "STORE", str(m.uid), "+FLAGS", "(\\Deleted)")
    c.do("uid", "EXPUNGE", str(m.uid))


def keyed(messages):
    out = collections.defaultdict(list)
    for m in messages:
        out[m.box, m.text].append(m)
    return out


def judge(base, a, b, end_a, end_b):
    """What is wrong with the end, as [(kind, words)], when a and b were both made of base."""
    base, a, b, end_a, end_b = (keyed(s) for s in (base, a, b, end_a, end_b))
    bad = []
    for key in sorted({*base, *a, *b, *end_a, *end_b}):
        want = key in a and key in b if key in base else key in a or key in b
        na, nb = len(end_a.get(key, ())), len(end_b.get(key, ()))
        m = next(s[key][0] for s in (base, a, b, end_a, end_b) if key in s)
        words = f"{m.box} {m.id}: near {na}, far {nb}, should be {int(want)}"
        if want and min(na, nb) < 1:
            bad.append(("lost", words))
        if max(na, nb) > 1:
            bad.append(("doubled", words))
        if not want and max(na, nb) > 0:
            bad.append(("returned", words))
        if want and key in base and min(na, nb) == 1:
            was, fa, fb = (s[key][0].flags for s in (base, a, b))
            ends = [s[key][0].flags for s in (end_a, end_b)]
            flags = fb if fa == was else fa if fb == was else None
            if flags is not None and ends != [flags, flags]:
                bad.append(("flags_undone", f"{m.box} {m.id}: near {sorted(ends[0])}, far {sorted(ends[1])}, should be {sorted(flags)}"))
    return bad


def difference(a, b):
    """The first of what two sides have not alike, or None."""
    def state(side):
        messages, validity = side
        if TOOL == "mbsync":
            return collections.Counter((m.box, m.id, m.text, *sorted(m.flags)) for m in messages)
        return collections.Counter([(m.box, m.uid, m.id, m.text, *sorted(m.flags), *sorted(m.keywords)) for m in messages] + list(validity.items()))
    a, b = state(a), state(b)
    d = [("near", *x) for x in (a - b)] + [("far", *x) for x in (b - a)]
    return f"{len(d)} differences, such as {min(d, key=str)}" if d else None


# ---- processes ----

def processes():
    """pid, parent, name, argv of each."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                name, state, parent = re.match(r"\d+ \((.*)\) (\S) (\d+)", f.read()).groups()
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                argv = f.read().decode(errors="replace").split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX":
            yield int(pid), int(parent), name, argv


def master():
    with open(LAB + "/run/master.pid") as f:
        return int(f.read())


class Pair:
    """Two locations, near a Maildir and far an sdbox, and how they are synced.  Each is new, though of the same two users."""
    near, far = TOOL + "-near", TOOL + "-far"
    home = f"{LAB}/home/{near}"
    maildir = home + "/Maildir"

    @classmethod
    def users(cls):
        where = "maildir"
        if TOOL == "mbsync":
            where = f"maildir:{cls.maildir}:LAYOUT=fs:INBOX={cls.maildir}/INBOX:INDEX={cls.home}/index:CONTROL={cls.home}/control"
        lab("user-add", cls.near, where)
        lab("user-add", cls.far, "sdbox")

    def __init__(self, number):
        for user in (self.near, self.far):
            shutil.rmtree(f"{LAB}/home/{user}")
            os.mkdir(f"{LAB}/home/{user}")
            os.chown(f"{LAB}/home/{user}", OWNER, OWNER)
        if TOOL == "mbsync":
            os.mkdir(self.maildir)
            os.chown(self.maildir, OWNER, OWNER)
            with open(self.home + "/mbsyncrc", "w") as f:
                f.write(lab("mbsyncrc", self.far, self.maildir))
        lab("fill", self.far, str(BASE), f"{SEED}.{number}", "INBOX", "Work")
        self.settled()

    def command(self):
        if TOOL == "dsync":
            doveadm = ["doveadm", "-c", LAB + "/dovecot.conf"]
            return [*doveadm, "sync", "-u", self.near, *doveadm, "dsync-server", "-u", self.far]
        if TOOL == "mbsync":
            return ["mbsync", "-c", f"{LAB}/home/{self.near}/mbsyncrc", "-a"]
        return [os.environ["PROGRAM"], "--no-max-delete", "-o", "doveadm_password_file=" + os.environ["PASSWORD"],
                "-o", "mail_location=maildir:" + self.maildir, "mirror", f"tcp:{self.far}@127.0.0.1:{PORT + 2}"]

    def start(self):
        until("earlier sessions have ended", lambda: not self.servers())
        if TOOL == "mbsync":
            # It would sleep until then, and most kills would meet it asleep.
            until("no directory of the Maildir has changed in this second", lambda: self.changed_at() < int(time.time()))
        # Only doveadm takes on the owner of the mail by itself.
        owner = {} if TOOL == "dsync" else {"user": OWNER, "group": OWNER, "extra_groups": []}
        return subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=sys.stderr,
                                env={**os.environ, "HOME": f"{LAB}/home/{self.near}"}, cwd="/", **owner)

    def changed_at(self):
        return max(int(os.stat(d).st_mtime) for d, _, _ in os.walk(self.maildir))

    def servers(self):
        if TOOL == "dsync":
            return [p for p, parent, name, argv in processes() if name == "doveadm" and self.far in argv and "sync" not in argv]
        want, m = "imap" if TOOL == "mbsync" else "doveadm-server", master()
        return [p for p, parent, name, argv in processes() if parent == m and name == want]

    def until_done(self):
        """How many runs it took, None when they were not enough; seconds of the slowest."""
        slowest = 0
        for i in range(1, RUNS + 1):
            p, begun = self.start(), time.monotonic()
            rc = p.wait(DEADLINE)
            slowest = max(slowest, time.monotonic() - begun)
            if rc == 0:
                return i, slowest
        return None, slowest

    def killed(self, side, delay):
        """False when the sync was done before that."""
        p = self.start()
        try:
            p.wait(delay)
            return False
        except subprocess.TimeoutExpired:
            pass
        if side == "near":
            p.kill()
            return p.wait() == -signal.SIGKILL
        # One that is not there yet is killed as soon as it is.
        hit = until("there is a server", lambda: self.servers() or p.poll() is not None)
        if hit is not True:
            for pid in hit:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        return p.wait(DEADLINE) != 0

    def changed(self):
        """The messages before the changes, and those of both sides then."""
        base = read(self.far)[0]
        change(self.near, "near")
        change(self.far, "far")
        return base, read(self.near)[0], read(self.far)[0]

    def settled(self):
        runs, seconds = self.until_done()
        if runs is None:
            raise Failure("a sync that nobody kills is not done")
        return runs, seconds


def undisturbed():
    """Seconds that a sync takes, of a pair as in each round."""
    pair = Pair(0)
    was = pair.changed()
    runs, seconds = pair.settled()
    a, b = read(pair.near), read(pair.far)
    print(f"undisturbed: {seconds * 1000:.0f} ms, {runs} runs, difference: {difference(a, b)}")
    for bad in judge(*was, a[0], b[0]):
        print("undisturbed:", *bad)
    return seconds


def one_round(number, most, count):
    pair = Pair(number)
    for draw in range(DRAWS):
        was = pair.changed()
        side, delay = rnd.choice(("near", "far")), rnd.random() * most
        if pair.killed(side, delay):
            break
        count["late"] += 1
        pair.settled()
    else:
        print(f"round {number}: the sync was done before each kill")
        return
    count["killed"] += 1
    count[side] += 1
    runs, seconds = pair.until_done()
    a, b = read(pair.near), read(pair.far)
    unequal, bad = difference(a, b), judge(*was, a[0], b[0])
    count["equal"] += not unequal
    count["never_settled"] += runs is None
    count["more_runs"] += runs != 1
    count["slowest_ms"] = max(count["slowest_ms"], round(seconds * 1000))
    print(f"round {number}: {side} killed after {delay * 1000:.0f} ms, done after {runs} runs, {seconds * 1000:.0f} ms the slowest",
          f"; not equal: {unequal}" if unequal else "", sep="", flush=True)
    for kind, words in bad:
        count[kind] += 1
        print(f"round {number}: {kind}: {words}", flush=True)


def main():
    if TOOL not in ("dsyncfs", "dsync", "mbsync"):
        sys.exit(f"killed_sync: no tool '{TOOL}'")
    fields = ("killed", "near", "far", "late", "equal", "lost", "doubled", "returned", "flags_undone", "never_settled", "more_runs", "slowest_ms")
    count = dict.fromkeys(fields, 0)
    begun = time.monotonic()
    try:
        Pair.users()
        most = undisturbed()
        for number in range(1, ROUNDS + 1):
            one_round(number, most, count)
    except Failure as e:
        sys.exit(f"killed_sync: {e}")
    print(f"FIGURE killed-sync tool={TOOL} rounds={ROUNDS} " + " ".join(f"{k}={v}" for k, v in count.items()) +
          f" undisturbed_ms={most * 1000:.0f} secs={time.monotonic() - begun:.0f}")
    # Whatever was found is told; whether it is all that was asked for is this exit.
    sys.exit(count["killed"] != ROUNDS)


main()
