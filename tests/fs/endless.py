#!/usr/bin/env python3
"""endless -- a mount is used for a long time by a mailbox that stays small: its memory stays what it was.

	endless.py MOUNTPOINT PID OPERATIONS

Deliveries (by rename and link, with fsync and without), flags, copies, moves, expunges, files that are not mail, listings and reading, at
random; never more than some hundred messages.  Anonymous memory at the end is compared with that after a half.
"""
import os, random, sys
mnt, pid, operations = sys.argv[1], sys.argv[2], int(sys.argv[3])
rnd = random.Random(1)
MESSAGES, GROWTH_KB = 300, int(os.environ.get("GROWTH_KB", 8192))
serial = 0
have = {"": {}, ".Other/": {}}  # folder -> name -> part


def anonymous_kb():
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))


def deliver(f):
    global serial
    serial += 1
    n, kind = f"{serial}.M{serial}.h", rnd.randrange(4)
    fd = os.open(f"{mnt}/{f}tmp/{n}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b"Subject: %d\n\n%s\n" % (serial, b"x" * rnd.choice((10, 1000, 9000, 70000))))
    if kind == 0:
        os.fsync(fd)
    os.close(fd)
    if kind == 1:
        os.link(f"{mnt}/{f}tmp/{n}", f"{mnt}/{f}new/{n}")
        os.unlink(f"{mnt}/{f}tmp/{n}")
    else:
        os.rename(f"{mnt}/{f}tmp/{n}", f"{mnt}/{f}new/{n}")
    have[f][n] = "new"


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


os.makedirs(mnt + "/notes", exist_ok=True)
for d in ("", "/cur", "/new", "/tmp"):
    os.makedirs(mnt + "/.Other" + d, exist_ok=True)
began = 0
for i in range(operations):
    if i == operations // 2:
        began = anonymous_kb()
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
ended = anonymous_kb()
print(f"{operations} operations: {began} kB after a half, {ended} kB at the end")
sys.exit(0 if ended <= began + GROWTH_KB else 1)
