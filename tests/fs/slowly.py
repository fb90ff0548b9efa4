#!/usr/bin/env python3
"""
slowly -- who reads the listing of a folder slowly is given each name once,
though files that were written straight into it become messages meanwhile, and
messages that are written to in place become other ones.

usage: slowly.py MAILDIR
"""
import os
import sys
import time

cur, N = sys.argv[1] + "/cur", 900
plain = not os.path.exists(sys.argv[1] + "/.dsyncfs")

def uid(name):
    try:
        return int(os.getxattr(cur + "/" + name, "user.dsyncfs.uid"))
    except OSError:
        return 0

def wait(what):
    end = time.monotonic() + 60
    while not plain and not what():
        if time.monotonic() > end:
            sys.exit("waited in vain")
        time.sleep(0.05)

def listing(between):
    """All names of cur; after the first ones, with most of them still to come, BETWEEN is called with them."""
    with os.scandir(cur) as entries:
        got = [next(entries).name for _ in range(20)]
        between(got)
        return got + [e.name for e in entries]

def once(what, got, want):
    if len(got) != len(set(got)) or set(got) != set(want):
        sys.exit("%s: %d listed, %d of them different, %d there; missing %s, more than once %s" % (what, len(got), len(set(got)),
            len(want), sorted(set(want) - set(got))[:3], sorted(n for n in set(got) if got.count(n) > 1)[:3]))

names = ["17%08d.M1P1.slow:2,S" % i for i in range(N)]
for name in names:
    with open(cur + "/" + name, "w") as f:
        f.write("Subject: %s\n\nx\n" % name)
once("files become messages", listing(lambda got: wait(lambda: all(uid(n) for n in names))), names)
once("they have", listing(lambda got: None), names)

def write_to_some(got):
    was = {n: uid(n) for n in got[:10] + names[-10:]}
    for name in was:
        with open(cur + "/" + name, "a") as f:
            f.write("more\n")
    wait(lambda: all(uid(n) > was[n] for n in was))

for round in "messages are written to", "and again":
    once(round, listing(write_to_some), names)
fd = os.open(cur + "/" + names[0], os.O_WRONLY | os.O_APPEND)

def flush_one(got):
    os.write(fd, b"and more\n")
    os.fsync(fd)

once("one is made durable", listing(flush_one), names)
os.close(fd)
os.rename(cur + "/" + names[5], cur + "/" + names[5] + "T")
names[5] += "T"
once("one has another name", listing(lambda got: None), names)
os.unlink(cur + "/" + names[7])
del names[7]
once("one is gone", listing(lambda got: None), names)
