#!/usr/bin/env python3
"""
pages -- a large folder is listed while names in it change behind what has been
read: the rest shows what there is then.

usage: pages.py MAILDIR MESSAGES COMMAND...
COMMAND brings about what a sync does: it is given the name of a message in new/
and moves that to cur/ as read.
"""
import ctypes
import os
import struct
import subprocess
import sys

maildir, messages, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
new, cur = os.path.join(maildir, "new"), os.path.join(maildir, "cur")
bad = []


def name_of(i):
    return "17000%05d.M1P1.pages" % i


for i in range(messages):
    with open(os.path.join(maildir, "tmp", name_of(i)), "w") as f:
        f.write("Subject: %d\n\n%d\n" % (i, i))
    os.rename(os.path.join(maildir, "tmp", name_of(i)), os.path.join(new, name_of(i)))


def gone_by_unlink(name):
    os.unlink(os.path.join(new, name))


def gone_by_rename(name):
    os.rename(os.path.join(new, name), os.path.join(cur, name + ":2,S"))


def gone_by_sync(name):
    subprocess.run(command + [name], check=True)


LIBC = ctypes.CDLL(None, use_errno=True)
GETDENTS64 = 217 if os.uname().machine == "x86_64" else 61
AHEAD = (1, 3, 60, 120)


def pages_of(path):
    """The names that each getdents64 gives."""
    buf = ctypes.create_string_buffer(32768)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    while (n := LIBC.syscall(GETDENTS64, fd, buf, len(buf))) > 0:
        names, at = [], 0
        while at < n:
            length = struct.unpack_from("<H", buf.raw, at + 16)[0]
            names.append(buf.raw[at + 19:at + length].split(b"\0")[0].decode())
            at += length
        yield [name for name in names if name not in (".", "..")]
    os.close(fd)
    if n < 0:
        raise OSError(ctypes.get_errno(), path)


def list_with(change, every):
    """Reads page after page; behind each `every`th one changes what comes next."""
    names = [n for n in map(name_of, range(messages)) if os.path.exists(os.path.join(new, n))]
    left, seen, changed, late = set(names), [], [], []
    for number, page in enumerate(pages_of(new)):
        late += [n for n in page if n in changed]
        seen += page
        left -= set(page)
        if number % every == every - 1:
            behind = sorted(left)
            for i in AHEAD:
                if i < len(behind):
                    change(behind[i])
                    changed.append(behind[i])
                    left.discard(behind[i])
    if len(set(seen)) != len(seen):
        bad.append("%s: some are listed twice" % change.__name__)
    if left:
        bad.append("%s: %d are not listed" % (change.__name__, len(left)))
    return len(changed), late


total = 0
for change, every in ((gone_by_unlink, 4), (gone_by_rename, 5), (gone_by_sync, 7)):
    n, late = list_with(change, every)
    total += n
    if late:
        bad.append("%s: %d of %d are listed although they were gone, %s" % (change.__name__, len(late), n, late[0]))
if total < 20:
    bad.append("only %d changes" % total)
print("\n".join(bad))
sys.exit(1 if bad else 0)
