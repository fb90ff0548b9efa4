#!/usr/bin/env python3
"""
growing -- a file in tmp is written while others read it: nobody sees less, or
other bytes, than had been written when the look began.

usage: growing.py TMP FILES READERS
"""
import mmap
import os
import random
import struct
import sys

directory, files, n_readers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
PIECES = 60
rng = random.Random(7)
bad = []


def text(number, size):
    return (b"%06d " % number * (size // 7 + 1))[:size]


class Growing:
    """A file, and in memory that readers share how much of it has been written for sure; -1: it is complete."""

    def __init__(self, number):
        self.path = os.path.join(directory, "growing.%d" % number)
        self.whole = text(number, 60000)
        self.shared = mmap.mmap(-1, 8)

    def written(self):
        return struct.unpack("<q", self.shared[:8])[0]

    def wrote(self, n):
        self.shared[:8] = struct.pack("<q", n)

    def wrong(self, seen, least, start):
        if len(seen) >= least - start and seen[:least - start] == self.whole[start:least]:
            return False
        bad.append("%s: %d bytes from %d on, of which %d were written" % (self.path, len(seen), start, least - start))
        return True

    def look(self):
        with open(self.path, "rb") as f:
            least = self.written()
            if self.wrong(f.read(), least, 0) or least == 0:
                return
            with mmap.mmap(f.fileno(), least, prot=mmap.PROT_READ) as m:
                self.wrong(m[:least], least, 0)

    def follow(self):
        """Its end, over and over."""
        fd = os.open(self.path, os.O_RDONLY)
        writer = os.getppid()
        while (least := self.written()) >= 0 and os.getppid() == writer:
            start = max(0, least - 3000)
            if self.wrong(os.pread(fd, 6000, start), least, start):
                print(bad[0], file=sys.stderr)
                return 1
        os.close(fd)
        return 0


def grow(f):
    fd = os.open(f.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    readers = []
    for _ in range(n_readers):
        readers.append(os.fork())
        if readers[-1] == 0:
            os._exit(f.follow())
    at = 0
    for _ in range(PIECES):
        n = rng.choice((1, 17, 333, 900))
        os.pwrite(fd, f.whole[at:at + n], at)
        at += n
        f.wrote(at)
    f.wrote(-1)
    for r in readers:
        if os.waitpid(r, 0)[1] != 0:
            bad.append("%s: read while it was written" % f.path)
    f.wrote(at)
    f.look()
    return fd, at


def shared_map(number):
    """Written through a shared mapping and by write, in turns, by one descriptor."""
    path = os.path.join(directory, "mapped.%d" % number)
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    want = bytearray(8192)
    os.ftruncate(fd, len(want))
    with mmap.mmap(fd, len(want)) as m:
        for i in range(200):
            at, new = rng.randrange(len(want) - 4), struct.pack("<I", i)
            want[at:at + 4] = new
            if i % 2:
                m[at:at + 4] = new
                if i % 10 == 1:
                    m.flush()
            else:
                os.pwrite(fd, new, at)
            if m[:] != want or os.pread(fd, len(want), 0) != want:
                bad.append("%s: step %d" % (path, i))
                break
    with open(path, "rb") as f:
        if f.read() != want:
            bad.append("%s: another descriptor" % path)
    os.close(fd)
    os.unlink(path)


for number in range(files):
    growing = Growing(number)
    descriptor, at = grow(growing)
    # Written on where it has become a message.
    name = os.path.join(directory, "..", "cur", "growing.%d:2,S" % number)
    os.rename(growing.path, name)
    growing.path = name
    growing.look()
    os.pwrite(descriptor, growing.whole[at:at + 100], at)
    growing.wrote(at + 100)
    os.close(descriptor)
    growing.look()
    os.unlink(name)
for number in range(3):
    shared_map(number)
print("\n".join(bad[:5]))
sys.exit(1 if bad else 0)
