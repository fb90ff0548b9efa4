#!/usr/bin/env python3
"""faults -- a mount whose system calls fail (strace injects the errors), one of a kind or all from one on, or that is killed in one, at a
random place of a workload.

	faults.py MOUNT SYNC DIR SEED RUNS		RUNS "every": killed in each of its calls, one after the other

What was acknowledged is there after the next mount, once, byte by byte, with the flags that were acknowledged; what failed is there or not,
but never half; the store is whole; nothing hangs, and the mount never ends by itself.
"""
import errno, os, random, subprocess, sys, time
MOUNT, SYNC, D, SEED, RUNS = *sys.argv[1:4], int(sys.argv[4]), sys.argv[5]
CALLS = {  # how often a run makes them, about
    "pwrite64": 150, "pread64": 25, "fsync,fdatasync": 20, "openat,openat2": 70, "renameat,renameat2": 3, "unlinkat": 3, "mkdirat": 7,
    "newfstatat": 70, "getdents64": 14, "clone3": 9}
ERRORS = ["error=EIO", "error=ENOSPC", "error=EMFILE", "error=ENOMEM", "signal=KILL", "signal=KILL"]
rnd = random.Random(SEED)
hit = 0


def fail(*a):
    print(f"seed {SEED}, run {run} ({what}):", *a)
    sys.exit(1)


class Mounted:
    """The mount as a child, to see how it ends."""

    def __init__(self, store, mnt, inject=None):
        self.mnt, self.err = mnt, open(D + "/err", "ab+")
        tracer = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=" + inject[0], "-e", "inject=%s:%s:when=%s" % inject] if inject else []
        self.p = subprocess.Popen(tracer + [MOUNT, "-f", "dsyncfs:" + store, mnt], stdin=subprocess.DEVNULL, stdout=self.err, stderr=self.err)
        end = time.time() + 60
        while self.p.poll() is None and not os.path.ismount(mnt) and time.time() < end:
            time.sleep(0.01)
        self.up = self.p.poll() is None and os.path.ismount(mnt)
        if self.up:
            os.stat(mnt + "/new")

    def end(self):
        died = self.p.poll() is not None
        subprocess.run(["fusermount3", "-uz" if died else "-u", self.mnt], stderr=subprocess.DEVNULL)
        try:
            self.p.wait(60)
        except subprocess.TimeoutExpired:
            subprocess.run(["fusermount3", "-uz", self.mnt])
            self.p.kill()
            fail("the mount does not end")
        self.err.close()
        return died


def data_of(i):
    return b"Subject: %d\n\n%s\n" % (i, b"%d " % i * (i * 977 % 3000 + 1))


class Work:
    """What a mail program does, and what it was told."""

    def __init__(self, mnt):
        self.mnt, self.killed = mnt, False
        self.sent, self.maybe, self.flags, self.gone, self.maybe_gone, self.aux = {}, {}, {}, set(), set(), {}
        self.errors = 0

    def do(self, fn):
        try:
            fn()
            return True
        except OSError as e:
            if e.errno == errno.ENOTCONN and not self.killed:
                fail("the mount has ended")
            self.errors += 1
            return False

    def deliver(self, i, sync):
        n, m = f"{i}.h", self.mnt
        self.maybe[i] = data_of(i)

        def one():
            fd = os.open(f"{m}/tmp/{n}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(fd, data_of(i))
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(f"{m}/tmp/{n}", f"{m}/new/{n}")
            if sync == 2:
                d = os.open(m + "/new", os.O_RDONLY)
                try:
                    os.fsync(d)
                finally:
                    os.close(d)
        if self.do(one):
            self.sent[i] = data_of(i)
            self.flags[i] = {""}
        else:
            self.flags[i] = {"", None}

    def name(self, i):
        """Where it is now, by looking."""
        for part in ("new", "cur"):
            for n in os.listdir(f"{self.mnt}/{part}"):
                if n.split(":")[0] == f"{i}.h":
                    return f"{self.mnt}/{part}/{n}"
        return None

    def flag(self, i):
        to = "".join(sorted(rnd.sample("FRST", rnd.randrange(1, 4))))

        def one():
            at = self.name(i)
            if at is not None:
                os.rename(at, f"{self.mnt}/cur/{i}.h:2,{to}")
        if self.do(one):
            self.flags[i] = {to} if i in self.sent else self.flags[i] | {to}
        else:
            self.flags[i] = self.flags[i] | {to}

    def expunge(self, i):
        self.maybe_gone.add(i)

        def one():
            at = self.name(i)
            if at is not None:
                os.unlink(at)
                self.gone.add(i)
        self.do(one)

    def write_aux(self, k):
        text = b"%d" % rnd.randrange(10**9) * rnd.randrange(1, 2000)

        def one():
            os.makedirs(self.mnt + "/notes", exist_ok=True)
            with open(f"{self.mnt}/notes/{k}", "wb", buffering=0) as o:
                o.write(text)
                os.fsync(o.fileno())
        # Writing in place is not all or nothing, on no file system.
        self.aux[k] = text if self.do(one) else None

    def read(self, i):
        def one():
            at = self.name(i)
            if at is not None:
                with open(at, "rb") as f:
                    if f.read() != self.maybe[i]:
                        fail(f"message {i} is read wrongly")
        self.do(one)

    def run(self, first):
        ids = []
        for i in range(first, first + 14):
            self.deliver(i, rnd.randrange(3))
            ids.append(i)
            k = rnd.choice(ids)
            rnd.choice([lambda: self.flag(k), lambda: self.flag(k), lambda: self.read(k), lambda: self.write_aux(k % 5),
                        lambda: self.expunge(k) if rnd.random() < 0.5 else self.read(k)])()


def judge(w, mnt):
    have = {}
    for part in ("new", "cur"):
        for n in os.listdir(f"{mnt}/{part}"):
            i = int(n.split(".")[0])
            if i in have:
                fail(f"message {i} is there twice")
            with open(f"{mnt}/{part}/{n}", "rb") as f:
                have[i] = (f.read(), n.partition(":2,")[2])
    for i, data in w.maybe.items():
        if i in have:
            if have[i][0] != data:
                fail(f"message {i} is not what was delivered")
            if i in w.gone and i in w.sent:
                fail(f"message {i} had been removed")
            if have[i][1] not in w.flags[i]:
                fail(f"message {i} has the flags '{have[i][1]}', not {w.flags[i]}")
        elif i in w.sent and i not in w.maybe_gone:
            fail(f"message {i} is lost")
    for k, text in w.aux.items():
        if text is not None:
            with open(f"{mnt}/notes/{k}", "rb") as f:
                if f.read() != text:
                    fail(f"notes/{k} is not what was fsynced")


def whole(store):
    r = subprocess.run([SYNC, "-o", "mail_location=dsyncfs:" + store, "verify"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    if r.returncode != 0:
        fail("verify:", r.stdout.decode())


def some_fault():
    calls = rnd.choice(list(CALLS))
    n = rnd.randrange(1, CALLS[calls] + 1)
    return (calls, rnd.choice(ERRORS), f"{n}+" if rnd.random() < 0.4 else f"{n}")


if RUNS == "every":
    faults = [(calls, "signal=KILL", str(n)) for calls, many in CALLS.items() for n in range(1, many + 1)]
else:
    faults = [None] * int(RUNS)
for run, fault in enumerate(faults, 1):
    inject = fault or some_fault()
    killed = inject[1] == "signal=KILL"
    what = "%s: %s from call %s on" % inject if inject[2].endswith("+") else "%s: %s at call %s" % inject
    base = f"{D}/{run}"
    store, mnt = base + ".store", base + ".mnt"
    os.mkdir(mnt)
    # Something is there before.
    m = Mounted(store, mnt)
    if not m.up:
        fail("cannot be mounted")
    w = Work(mnt)
    w.run(100)
    if w.errors:
        fail("errors without a fault")
    m.end()
    whole(store)
    w.killed = killed
    m = Mounted(store, mnt, inject)
    if m.up:
        w.run(200)
        if m.end() and not killed:
            fail("the mount has ended by itself")
        hit += w.errors > 0
    elif m.p.poll() is None or m.p.returncode < 0 and not killed:
        fail("the mount does not answer")
    else:
        m.end()
        hit += 1
    m = Mounted(store, mnt)
    if not m.up:
        fail("cannot be mounted again:", open(D + "/err").read()[-2000:])
    judge(w, mnt)
    m.end()
    whole(store)
    subprocess.run(["rm", "-rf", store, mnt])
print(f"{len(faults)} runs, {hit} of them with errors that programs saw")
if hit == 0:
    fail("no fault was seen by any program")
