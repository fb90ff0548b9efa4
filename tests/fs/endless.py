#!/usr/bin/env python3
"""endless -- a mount is used for a long time by a mailbox that stays small: its memory stays what it was.

	endless.py MOUNTPOINT PID HEAP OPERATIONS COMPACT...

Deliveries (by rename and link, with fsync and without), flags, copies, moves, expunges, files that are not mail, listings and reading, at
random; never more than some hundred messages.  After a half and at the end the mailbox is brought to the same number of messages and
COMPACT is run, which drops what was expunged; then compared are what the mount holds allocated (HEAP, from heap.so), and its anonymous
memory, which is that and what the allocator keeps.
"""
import mmap, os, random, struct, subprocess, sys, time
mnt, pid, heap, operations, compact = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:]
rnd = random.Random(1)
MESSAGES, SETTLED, OPEN = 300, 200, 64
BUFFER = (1 << 20) + 8192  # each of libfuse's threads has one, and there are as many as were once busy
GROWTH = 64 << 10, int(os.environ.get("GROWTH_KB", 2048)) << 10  # of what is held, and of that with what the allocator keeps
serial = 0
have = {"": {}, ".Other/": {}}  # folder -> name -> part


def status(what):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what))


def held():
    """What is allocated when nothing goes on: the same for a while."""
    same = []
    while len(same) < 20:
        with open(heap, "rb") as f:
            now = sum(struct.unpack("<QQ", f.read(16))) - BUFFER * status("Threads")
        same = same + [now] if now in same else [now]
        time.sleep(0.1)
    return now


def deliver(f, size=None):
    global serial
    serial += 1
    n, kind = f"{serial}.M{serial}.h", rnd.randrange(4)
    fd = os.open(f"{mnt}/{f}tmp/{n}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b"Subject: %d\n\n%s\n" % (serial, b"x" * (size or rnd.choice((10, 1000, 9000, 70000)))))
    if kind == 0:
        os.fsync(fd)
    os.close(fd)
    if kind == 1:
        os.link(f"{mnt}/{f}tmp/{n}", f"{mnt}/{f}new/{n}")
        os.unlink(f"{mnt}/{f}tmp/{n}")
    else:
        os.rename(f"{mnt}/{f}tmp/{n}", f"{mnt}/{f}new/{n}")
    have[f][n] = "new"
    return n


def some(f):
    return rnd.choice(list(have[f])) if have[f] else None


def flag(f, n):
    to = n.split(":")[0] + ":2," + "".join(sorted(rnd.sample("FRSTab", rnd.randrange(4))))
    os.rename(f"{mnt}/{f}{have[f].pop(n)}/{n}", f"{mnt}/{f}cur/{to}")
    have[f][to] = "cur"


def expunge(f, n):
    os.unlink(f"{mnt}/{f}{have[f].pop(n)}/{n}")


def move(f, n):
    to = ".Other/" if f == "" else ""
    part = have[f].pop(n)
    m = n.split(":")[0]
    m = m if part == "new" else m + ":2,"
    os.rename(f"{mnt}/{f}{part}/{n}", f"{mnt}/{to}{part}/{m}")
    have[to][m] = part


def copy(f, n):
    global serial
    serial += 1
    m = f"{serial}.C.h"
    os.link(f"{mnt}/{f}{have[f][n]}/{n}", f"{mnt}/.Other/new/{m}")
    have[".Other/"][m] = "new"


def read(f, n):
    with open(f"{mnt}/{f}{have[f][n]}/{n}", "rb") as i:
        i.read()


def other_file():
    p = f"{mnt}/notes/{rnd.randrange(20)}"
    if rnd.random() < 0.3 and os.path.exists(p):
        os.unlink(p)
    else:
        with open(p + ".new", "wb") as o:
            o.write(b"y" * rnd.randrange(20000))
        os.rename(p + ".new", p)


def operation():
    f = rnd.choice(("", ".Other/"))
    n = some(f)
    if n is None or rnd.random() < 0.3 and len(have[f]) < MESSAGES:
        deliver(f)
    elif len(have[f]) >= MESSAGES:
        expunge(f, n)
    else:
        what = rnd.randrange(40)
        if what == 0:
            for p in ("cur", "new"):
                os.listdir(f"{mnt}/{f}{p}")
        elif what < 4:
            other_file()
        elif what < 8:
            move(f, n)
        elif what < 11:
            copy(f, n)
        elif what < 16:
            expunge(f, n)
        elif what < 24:
            read(f, n)
        else:
            flag(f, n)


def read_past_cache(n):
    fd = os.open(f"{mnt}/new/{n}", os.O_RDONLY | os.O_DIRECT)
    os.preadv(fd, [mmap.mmap(-1, 4096)], 0)
    os.close(fd)


def settle():
    """As many messages, bodies that are open (small ones, after one that has to be decompressed), pages of the index (of what is not expunged)
    as at any other time."""
    for f in have:
        while len(have[f]) > SETTLED:
            expunge(f, some(f))
        while len(have[f]) < SETTLED:
            deliver(f)
    names = [deliver("", 70000)] + [deliver("", 10) for _ in range(OPEN)]
    second = int(time.time())
    while int(time.time()) <= second + 1:
        time.sleep(0.1)
    subprocess.run(compact, check=True)
    for n in names:
        read_past_cache(n)
    return held(), status("RssAnon") << 10


os.makedirs(mnt + "/notes", exist_ok=True)
for d in ("", "/cur", "/new", "/tmp"):
    os.makedirs(mnt + "/.Other" + d, exist_ok=True)
for i in range(operations // 2):
    operation()
began = settle()
for i in range(operations - operations // 2):
    operation()
ended = settle()
grown = [e - b for b, e in zip(began, ended)]
print("%d operations, the second half of them: held %+d bytes, anonymous %+d, which is %d at the end" % (operations, *grown, ended[1]))
sys.exit(0 if all(n <= most for n, most in zip(grown, GROWTH)) else 1)
