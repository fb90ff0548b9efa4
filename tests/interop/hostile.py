#!/usr/bin/env python3
# hostile -- lets hostile_peer.py break the protocol, everywhere, and looks at what is left.
#
#	hostile.py [-n CASES] [-s SEED] [-j JOBS]	so many cases, drawn by SEED; without -n: every breakage of every record, in both
#							roles, with each kind of location; whose number the record is, and what the
#							peer takes itself for, is drawn
#	hostile.py -1 ROLE KIND LOCATION "CASE"		one case, as a failure names it, with what our program said
#
# After each: our program ended by itself, with a status that its man page has; within its memory (RLIMIT_AS); nothing has
# changed around the location; `verify` finds it whole; mail that was there is there, but for what the peer may expunge, and
# no mailbox has a name that is none; a sync with an honest dsyncfs works, and leaves both with all mail.
import concurrent.futures, getopt, hashlib, os, random, re, resource, shutil, stat, subprocess, sys, threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import hostile_peer as hp

FLAVOUR = os.environ.get("FLAVOUR", "release")
SYNC = os.environ.get("SYNC") or os.path.join(HERE, "..", "..", "build", FLAVOUR, "dsyncfs-sync")
MEMORY = 400 << 20
STATUSES = (0, 1, 2, 4, 69, 75)
LOCATIONS = {"store": "dsyncfs:%s", "maildir": "maildir:%s", "maildirfs": "maildir:%s:LAYOUT=fs"}
MAILS = 8
sys.setrecursionlimit(20000)  # a mailbox may lie a thousand levels deep
ONE = re.compile(r" sha1=([0-9a-f]*)$")


def limits():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if FLAVOUR not in ("asan", "tsan", "valgrind"):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def environment(home):
    env = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    env.update(HOME=home, LC_ALL="C.UTF-8", TZ="UTC", PYTHONDONTWRITEBYTECODE="1",
               ASAN_OPTIONS="exitcode=99:abort_on_error=0:hard_rss_limit_mb=1500:allocator_may_return_null=1", UBSAN_OPTIONS="halt_on_error=1:exitcode=99")
    return env


class Failed(Exception):
    pass


class Place:
    """A copy of a location with things around it that nobody may touch."""

    def __init__(self, base, top, kind):
        self.top, self.kind = top, kind
        shutil.rmtree(top, ignore_errors=True)
        os.makedirs(top + "/home")
        shutil.copytree("%s/%s" % (base, kind), top + "/in/loc", symlinks=True, copy_function=shutil.copy2)
        shutil.copytree(base + "/honest", top + "/honest", symlinks=True, copy_function=shutil.copy2)
        for d in ("", "/in", "/in/beside", "/home"):
            os.makedirs(top + d, exist_ok=True)
            with open(top + d + "/canary", "w") as f:
                f.write("sings\n")
        self.location = LOCATIONS[kind] % (top + "/in/loc")
        self.env = environment(top + "/home")

    def around(self):
        seen = {}
        for d, dirs, files in os.walk(self.top):
            if d == self.top + "/in":
                dirs.remove("loc")
            if d == self.top and "honest" in dirs:
                dirs.remove("honest")
            for n in dirs + files:
                p = os.path.join(d, n)
                st = os.lstat(p)
                seen[p] = (stat.S_IFMT(st.st_mode), st.st_mode, hashlib.sha1(open(p, "rb").read()).hexdigest() if stat.S_ISREG(st.st_mode) else "")
        return seen

    def sync(self, *args, location=None, **more):
        return subprocess.run([SYNC, "-o", "mail_location=" + (location or self.location), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.env, timeout=120, preexec_fn=limits, **more)

    def must(self, what, *args, **more):
        r = self.sync(*args, **more)
        if r.returncode != 0:
            raise Failed("%s: exit %d: %s" % (what, r.returncode, (r.stdout + r.stderr).decode("utf-8", "replace")[-600:]))
        return r.stdout.decode("utf-8", "surrogateescape")

    def mail(self, location=None):
        """{mailbox: hashes}, of a dump."""
        out, box = {}, None
        for line in self.must("dump", "dump", location=location).splitlines():
            if line.startswith("mailbox "):
                box = out.setdefault(line.split(" ")[1], [])
            elif ONE.search(line):
                box.append(ONE.search(line).group(1))
        return out

    def hostile(self, role, kind, case):
        """Status, what it said."""
        if role == "slave":
            peer = ["python3", os.path.join(HERE, "hostile_peer.py"), "slave", kind, case, self.top]
            r = self.sync("-T", "1", "mirror", "--", *peer)
            return r.returncode, r.stderr
        p = subprocess.Popen([SYNC, "-o", "mail_location=" + self.location, "-T", "1", "dsync-server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=self.env, preexec_fn=limits)
        said = []
        t = threading.Thread(target=lambda: said.append(p.stderr.read()), daemon=True)
        t.start()
        try:
            peer = hp.Peer("master", kind, case, self.top, os.dup(p.stdout.fileno()), os.dup(p.stdin.fileno()))
            p.stdin.close()
            peer.run()
            p.wait(120)
        finally:
            if p.poll() is None:
                p.kill()
            p.wait()
            t.join()
            p.stdout.close()
            p.stderr.close()
        return p.returncode, said[0]


def bad_name(name):
    name = name.replace("%25", "%")
    return any(part in ("", ".", "..") for part in name.split("/")) or any(ord(c) < 32 or c == "\x7f" for c in name) or "\udc80" <= max(name) <= "\udcff"


def may_expunge(role, kind, case):
    """How many mails such a peer may take away, by the rules of a sync."""
    if role == "master" and kind == "dsyncfs" and case.endswith((" expungeall", "s=all")):
        return 3 * MAILS  # as its user may, by --no-max-delete
    return 3 if case.endswith(" expunge") else 0


def look(place, before, around, role, kind, case):
    if place.around() != around:
        raise Failed("something changed around the location: %r" % sorted(set(place.around().items()) ^ set(around.items()))[:4])
    for d, dirs, files in os.walk(place.top + "/in/loc"):
        links = [n for n in dirs + files if os.path.islink(os.path.join(d, n))]
        if links:
            raise Failed("links in the location: %r" % links)
    place.must("verify", "verify")
    after = place.mail()
    there = {h for v in after.values() for h in v}
    lost = [(b, h) for b in before for h in before[b] if h not in there]
    if len(lost) > may_expunge(role, kind, case):
        raise Failed("%d mails are gone: %r" % (len(lost), lost[:3]))
    odd = [b for b in after if bad_name(b)]
    if odd:
        raise Failed("names that are none: %r" % odd[:3])


def honest(place, emptied):
    other = "dsyncfs:%s/honest" % place.top
    # A sync stops before it empties a mailbox there, as the peer had done here.
    allow = ["--no-max-delete"] if emptied else []
    for _ in range(4):
        r = place.sync(*allow, "mirror", "--", SYNC, "-o", "mail_location=" + other, "dsync-server")
        if r.returncode != 2:
            break
    if r.returncode != 0:
        raise Failed("a sync with an honest peer: exit %d: %s" % (r.returncode, r.stderr.decode("utf-8", "replace")[-600:]))
    near, far = place.mail(), place.mail(other)
    if {h for v in near.values() for h in v} != {h for v in far.values() for h in v}:
        raise Failed("an honest peer and we have not the same mail: %r" % {k: (len(near.get(k, [])), len(far.get(k, []))) for k in set(near) | set(far)})


def run_case(base, top, case, loud=False):
    role, kind, loc, what = case
    place = Place(base, top, loc)
    try:
        before, around = place.mail(), place.around()
        status, said = place.hostile(role, kind, what)
        if loud:
            print("exit %d\n%s" % (status, said.decode("utf-8", "replace")))
        if status not in STATUSES:
            raise Failed("exit %d: %s" % (status, said.decode("utf-8", "replace")[-1500:]))
        if status not in (0, 2) and not said.strip():
            raise Failed("exit %d without a word" % status)
        if what == "none" and status != 0:
            raise Failed("an honest session: exit %d: %s" % (status, said.decode("utf-8", "replace")[-1500:]))
        look(place, before, around, role, kind, what)
        honest(place, may_expunge(role, kind, what) > 3)
        return case, status, None
    except (Failed, subprocess.TimeoutExpired) as e:
        return case, None, str(e)
    finally:
        if not loud:
            shutil.rmtree(top, ignore_errors=True)


# ---- what all begin with ----

def make_base(base):
    for d in ("", "/.Work", "/.Work.Sub"):
        for s in ("cur", "new", "tmp"):
            os.makedirs("%s/src%s/%s" % (base, d, s))
        for i in range(MAILS):
            with open("%s/src%s/cur/17%08d.M%d%s:2,S" % (base, d, i, i, d.replace("/", "")), "w") as f:
                f.write("Subject: %s %d\nMessage-ID: <%d%s@x>\n\nbody %d\n" % (d, i, i, d, i))
    place = Place.__new__(Place)
    place.env = environment(base)
    for kind, loc in LOCATIONS.items():
        place.location = loc % ("%s/%s" % (base, kind))
        place.must("make " + kind, "mirror", "maildir:%s/src" % base)
    place.must("make an honest one", "mirror", "maildir:%s/src" % base, location="dsyncfs:%s/honest" % base)
    with open(base + "/src/new/1800000000.M1.honest", "w") as f:
        f.write("Subject: honest\n\nbody\n")
    place.must("make an honest one", "mirror", "maildir:%s/src" % base, location="dsyncfs:%s/honest" % base)


def all_cases(seed):
    r, out = random.Random(seed), []
    for role in ("master", "slave"):
        for loc in LOCATIONS:
            for letter in hp.letters_of(role):
                # a column of its own is there only in a dsyncfs
                for how in hp.breakages(letter, "dsyncfs"):
                    kind = "dsyncfs" if how.startswith("dsyncfs_") else r.choice(["dovecot", "dsyncfs"])
                    number = r.randrange({"N": 4, "B": 3, "A": 3, "C": 3, "M": 3, "S": 3}.get(letter, 1))
                    out.append((role, kind, loc, "%s %d %s" % (letter, number, how)))
    r.shuffle(out)
    return out


def main():
    opts, args = getopt.getopt(sys.argv[1:], "1n:s:j:")
    o = dict(opts)
    tmp = os.environ.get("TMP") or sys.exit("hostile: TMP says where")
    base = tmp + "/base"
    os.makedirs(base)
    make_base(base)
    if "-1" in o:
        case, status, why = run_case(base, tmp + "/one", tuple(args), True)
        print("FAIL " + why if why else "ok")
        return why is not None
    seed = int(o.get("-s", 1))
    cases = all_cases(seed)
    if "-n" in o:
        cases = cases[:int(o["-n"])]
    cases = [(role, kind, loc, "none") for role in ("master", "slave") for kind in ("dovecot", "dsyncfs") for loc in LOCATIONS] + cases
    bad, seen = 0, {}
    with concurrent.futures.ThreadPoolExecutor(int(o.get("-j", 3))) as pool:
        jobs = [pool.submit(run_case, base, "%s/c%d" % (tmp, i), c) for i, c in enumerate(cases)]
        for j in concurrent.futures.as_completed(jobs):
            case, status, why = j.result()
            seen[status] = seen.get(status, 0) + 1
            if why:
                bad += 1
                print("FAIL %s %s %s \"%s\": %s" % (*case, why), flush=True)
    print("%d cases (seed %d), statuses %s, %d failed" % (len(cases), seed, sorted(seen.items(), key=str), bad))
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
