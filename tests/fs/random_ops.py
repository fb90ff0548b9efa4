#!/usr/bin/env python3
"""
random_ops -- random operations on the mail folders of a mount and of a plain
Maildir at once: each must end alike, and from time to time all names, sizes,
contents, link counts and hard links.

usage: random_ops.py MOUNT PLAIN SEED STEPS

What dsyncfs(1) says is refused is not tried: nothing is renamed or linked into
tmp from elsewhere.  A name in tmp that was linked from goes at once.
"""
import errno
import hashlib
import mmap
import os
import random
import re
import stat
import sys
import time

FOLDERS = ["cur", "new", "tmp", ".F/cur", ".F/new", ".F/tmp"]
KEPT = 10  # names of a folder, when there are too many
PAUSE = 1.3  # until what was written has settled


def read(path):
    with open(path, "rb") as f:
        return hashlib.sha1(f.read()).hexdigest()


def shown(path):
    s = os.lstat(path)
    return (s.st_size, s.st_nlink, stat.S_IFMT(s.st_mode), stat.S_IMODE(s.st_mode))


def files(root):
    for folder in FOLDERS:
        with os.scandir(os.path.join(root, folder)) as entries:
            for e in entries:
                if e.name != "dovecot-keywords":
                    yield folder + "/" + e.name, e.path


def contents(root):
    return {name: shown(path) + (read(path),) for name, path in files(root)}


def hard_links(root):
    by_inode = {}
    for name, path in files(root):
        by_inode.setdefault(os.lstat(path).st_ino, []).append(name)
    return sorted(sorted(names) for names in by_inode.values())


class Run:
    def __init__(self, roots, seed):
        self.roots, self.seed = roots, seed
        self.r = random.Random(seed)
        self.names = {f: [] for f in FOLDERS}
        self.open = []  # (name, a descriptor on each side)
        self.log, self.step, self.made = [], 0, 0
        self.slow, self.renamed = False, set()
        for root in roots:
            for f in FOLDERS:
                os.makedirs(os.path.join(root, f), exist_ok=True)

    def both(self, what, fn):
        """fn(root, side) on each side; the outcome, if they are alike."""
        ends = []
        for side, root in enumerate(self.roots):
            try:
                ends.append(("ok", fn(root + "/", side)))
            except OSError as e:
                ends.append((errno.errorcode.get(e.errno, e.errno), None))
        self.log.append("%d %s: %s" % (self.step, what, ends[1][0]))
        if ends[0] != ends[1]:
            self.differ(what, ends)
        return ends[0][0] == "ok"

    def differ(self, what, ends):
        about = set(re.findall(r"\bM\d+P", what))
        for side, (how, got) in zip(("mount", "plain"), ends):
            other = ends[side == "mount"][1]
            if isinstance(got, dict) and isinstance(other, dict):
                got = {k: v for k, v in got.items() if other.get(k) != v}
            elif isinstance(got, list) and isinstance(other, list):
                got = [x for x in got if x not in other]
            print("%s: %s: %s %.2000s" % (what, side, how, got))
            if isinstance(got, (dict, list)):
                about |= set(re.findall(r"\bM\d+P", str(got)))
        print("seed %d; what was done to it:" % self.seed)
        print("\n".join(line for line in self.log if about & set(re.findall(r"\bM\d+P", line))))
        sys.exit(1)

    # ---- what is chosen ----

    def new_name(self, folder):
        self.made += 1
        base = "17%08d.M%dP1.h" % (self.r.randrange(10 ** 8), self.made)
        return base + self.end(folder)

    def end(self, folder):
        flags = sorted(self.r.sample("DFPRSTabz", self.r.randrange(4)))
        return ":2," + "".join(flags) if folder.endswith("cur") else ""

    def any_name(self):
        folders = [f for f in FOLDERS if self.names[f]]
        if not folders:
            return None
        folder = self.r.choice(folders)
        return folder, self.r.choice(self.names[folder])

    def text(self):
        n = self.r.choice([0, 1, 50, 500, 5000, 30000, 200000])
        return b"Subject: %d\n\n" % self.r.randrange(10 ** 6) + bytes(self.r.choices(b"abcdefgh \n", k=n))

    def look(self, folder):
        self.names[folder] = sorted(os.listdir(os.path.join(self.roots[1], folder)))

    # ---- operations ----

    @staticmethod
    def put(path, data, piece, durable=False):
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            at = 0
            while at < len(data):
                at += os.write(fd, data[at:at + piece])
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)

    def create(self):
        folder = self.r.choice(FOLDERS)
        name, data, piece = self.new_name(folder), self.text(), self.r.choice([1 << 30, 4096, 777])
        self.both("create %s/%s, %d bytes" % (folder, name, len(data)),
            lambda root, _: self.put(root + folder + "/" + name, data, piece))
        self.names[folder].append(name)

    def deliver(self):
        box, name, data = self.r.choice(["", ".F/"]), self.new_name("new"), self.text()
        durable, link = self.r.random() < 0.4, self.r.random() < 0.4

        def go(root, _):
            tmp, new = root + box + "tmp/" + name, root + box + "new/" + name
            self.put(tmp, data, 1 << 30, durable)
            if link:
                os.link(tmp, new)
                os.unlink(tmp)
            else:
                os.rename(tmp, new)

        self.both("deliver %s%s" % (box, name), go)
        self.names[box + "new"].append(name)

    def rename(self, folder, name):
        to = self.r.choice(FOLDERS)
        if to.endswith("tmp") and to != folder:
            return
        if self.names[to] and self.r.random() < 0.2:
            new_name = self.r.choice(self.names[to])
        else:
            new_name = name.split(":")[0] + self.end(to)
        if self.both("rename %s/%s to %s/%s" % (folder, name, to, new_name),
                lambda root, _: os.rename(root + folder + "/" + name, root + to + "/" + new_name)):
            self.look(folder)
            self.look(to)
            self.renamed |= {name, new_name}

    def link(self, folder, name):
        to = self.r.choice(FOLDERS)
        new_name = self.new_name(to)
        if to.endswith("tmp"):
            return
        self.both("link %s/%s to %s/%s" % (folder, name, to, new_name),
            lambda root, _: os.link(root + folder + "/" + name, root + to + "/" + new_name))
        self.look(to)
        if folder.endswith("tmp"):
            self.unlink(folder, name)

    def unlink(self, folder, name):
        self.both("unlink %s/%s" % (folder, name), lambda root, _: os.unlink(root + folder + "/" + name))
        self.names[folder].remove(name)

    def write(self, folder, name):
        data, at = self.text()[:self.r.choice([1, 100, 5000])], self.r.choice([0, 10, 3000, 100000, -1])

        def go(root, _):
            fd = os.open(root + folder + "/" + name, os.O_WRONLY | (os.O_APPEND if at < 0 else 0))
            try:
                return os.write(fd, data) if at < 0 else os.pwrite(fd, data, at)
            finally:
                os.close(fd)

        self.both("write %d bytes at %d of %s/%s" % (len(data), at, folder, name), go)

    def rewrite(self, folder, name):
        data = self.text()

        def go(root, _):
            with open(root + folder + "/" + name, "wb") as f:
                f.write(data)

        self.both("rewrite %s/%s, %d bytes" % (folder, name, len(data)), go)

    def truncate(self, folder, name):
        size = self.r.choice([0, 1, 100, 5000, 70000])
        self.both("truncate %s/%s to %d" % (folder, name, size),
            lambda root, _: os.truncate(root + folder + "/" + name, size))

    def empty(self, folder, name):
        self.both("open %s/%s to empty it" % (folder, name),
            lambda root, _: os.close(os.open(root + folder + "/" + name, os.O_WRONLY | os.O_TRUNC)))

    def copy_range(self, folder, name):
        one = self.any_name()
        n, at = self.r.choice([1, 100, 70000]), self.r.choice([0, 50, 9000])

        def go(root, _):
            a, b = os.open(root + folder + "/" + name, os.O_RDONLY), os.open(root + "/".join(one), os.O_WRONLY)
            try:
                return os.copy_file_range(a, b, n, 0, at)
            finally:
                os.close(a)
                os.close(b)

        if one != (folder, name):
            self.both("copy %d bytes of %s/%s to %s/%s at %d" % ((n, folder, name) + one + (at,)), go)

    def allocate(self, folder, name):
        n, at = self.r.choice([1, 100, 70000]), self.r.choice([0, 50, 9000])

        def go(root, _):
            fd = os.open(root + folder + "/" + name, os.O_WRONLY)
            try:
                os.posix_fallocate(fd, at, n)
            finally:
                os.close(fd)

        self.both("allocate %d bytes at %d of %s/%s" % (n, at, folder, name), go)

    def durable_folder(self):
        folder = self.r.choice(FOLDERS)

        def go(root, _):
            fd = os.open(root + folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

        self.both("fsync " + folder, go)

    def slowly(self):
        """Of a listing that is read while much happens: what was there before and after is in it, once."""
        folder = self.r.choice(FOLDERS)
        path = os.path.join(self.roots[0], folder)
        before = set(os.listdir(path))
        with os.scandir(path) as entries:
            got = [e.name for _, e in zip(range(3), entries)]
            if not self.slow:
                self.slow = True
                for _ in range(self.r.randrange(1, 12)):
                    self.one()
                if self.r.random() < 0.3:
                    time.sleep(PAUSE)
                self.slow = False
            got += [e.name for e in entries]
        stayed = (before & set(os.listdir(path))) - self.renamed
        bad = sorted((n, got.count(n)) for n in stayed if got.count(n) != 1)
        if bad:
            self.differ("list %s slowly" % folder, [("ok", bad), ("ok", [])])

    def times(self, folder, name):
        t = self.r.randrange(10 ** 9) * 10 ** 9 + 123456789

        def go(root, _):
            path = root + folder + "/" + name
            os.utime(path, ns=(t, t))
            return os.stat(path).st_mtime_ns

        self.both("set the time of %s/%s" % (folder, name), go)

    def see(self, folder, name):
        self.both("stat %s/%s" % (folder, name), lambda root, _: shown(root + folder + "/" + name))
        self.both("read %s/%s" % (folder, name), lambda root, _: read(root + folder + "/" + name))

    def keep_open(self, folder, name):
        if len(self.open) < 6:
            self.log.append("%d open %s/%s" % (self.step, folder, name))
            self.open.append((folder + "/" + name,
                [os.open(os.path.join(root, folder, name), os.O_RDWR) for root in self.roots]))

    def use_open(self):
        if not self.open:
            return
        which = self.r.randrange(len(self.open))
        name, fds = self.open[which]
        data, at = self.text()[:3000], self.r.choice([0, 100, 20000])

        def through_memory(fd):
            size = os.fstat(fd).st_size
            if size == 0:
                return None
            with mmap.mmap(fd, 0) as m:
                was = hashlib.sha1(m).hexdigest()
                m[0:1] = b"Z"
                m.flush()
            return was

        how = self.r.choice([
            ("write", lambda fd: os.pwrite(fd, data, at)),
            ("read", lambda fd: hashlib.sha1(os.pread(fd, 300000, 0)).hexdigest()),
            ("fsync", os.fsync),
            ("stat", lambda fd: (os.fstat(fd).st_size, os.fstat(fd).st_nlink)),
            ("truncate", lambda fd: os.ftruncate(fd, at)),
            ("map", through_memory)])
        self.both("open %s: %s" % (name, how[0]), lambda _, side: how[1](fds[side]))
        if self.r.random() < 0.3:
            self.close(which)

    def close(self, which):
        for fd in self.open.pop(which)[1]:
            os.close(fd)

    def list(self):
        folder = self.r.choice(FOLDERS)
        self.both("list " + folder, lambda root, _: sorted(os.listdir(root + folder)))

    # ---- all of it ----

    def compare(self):
        self.both("what there is", lambda root, _: contents(root))
        self.both("hard links", lambda root, _: hard_links(root))

    def tidy(self):
        for folder in FOLDERS:
            for name in self.names[folder][:-KEPT]:
                self.unlink(folder, name)

    def run(self, steps):
        on_one = [self.rename] * 3 + [self.write] * 2 + [self.link, self.unlink, self.rewrite, self.truncate,
            self.times, self.see, self.keep_open, self.empty, self.copy_range, self.allocate]
        others = [self.create] * 4 + [self.deliver, self.list, self.durable_folder, self.slowly] + [self.use_open] * 2

        def one_op():
            op = self.r.choice(on_one + others)
            if op in others:
                op()
            elif (one := self.any_name()) is not None:
                op(*one)

        self.one = one_op
        for self.step in range(steps):
            one_op()
            if self.r.random() < 0.005:
                time.sleep(PAUSE)
            if self.step % 40 == 39:
                self.compare()
                if len(self.names["cur"]) > 60:
                    self.tidy()
        while self.open:
            self.close(0)
        time.sleep(PAUSE)
        self.compare()


if __name__ == "__main__":
    Run(sys.argv[1:3], int(sys.argv[3])).run(int(sys.argv[4]))
