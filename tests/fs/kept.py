#!/usr/bin/env python3
"""kept -- random changes of a mounted store by programs and by syncs; what the kernel keeps of it is compared with what a fresh mount shows.

	kept.py MOUNT SYNC DIR SEED ROUNDS [LAYOUT]	programs; a directory to work in

Each round changes things through the mount and beside it, looks at everything by the names that are listed and by those that were known
before, mounts anew, and looks again: names, inode numbers, sizes, times, link counts, modes and contents have to be the same.
"""
import glob, os, random, subprocess, sys, time
MOUNT, SYNC, D, SEED, ROUNDS = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
LAYOUT = sys.argv[6] if len(sys.argv) > 6 else "maildir++"
rnd = random.Random(SEED)
store, mnt, side = D + "/store", D + "/mnt", D + "/side"
serial = 0
known = set()


def say(*a):
    if os.environ.get("VERBOSE"):
        print(*a, flush=True)


def fail(*a):
    print(f"seed {SEED}, round {round_}:", *a)
    sys.exit(1)


def mount():
    os.makedirs(mnt, exist_ok=True)
    subprocess.run([MOUNT, "-o", f"layout={LAYOUT}", "dsyncfs:" + store, mnt], check=True, stdin=subprocess.DEVNULL, timeout=60)


def umount():
    for i in range(100):
        if subprocess.run(["fusermount3", "-u", mnt], stderr=subprocess.DEVNULL).returncode == 0:
            break
        time.sleep(0.1)
    else:
        fail("cannot be unmounted")


def sync(*args):
    for i in range(5):
        r = subprocess.run([SYNC, "-o", "mail_location=dsyncfs:" + store, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        if r.returncode != 2:
            break
    if r.returncode != 0:
        fail("sync", args, r.returncode, r.stdout.decode())


def folders(root, sep):
    out = [""]
    for base, dirs, files in os.walk(root):
        dirs[:] = [d for d in dirs if d not in ("cur", "new", "tmp", "dsyncfs-sidecar")]
        for d in dirs:
            rel = os.path.relpath(base + "/" + d, root)
            if os.path.isdir(f"{root}/{rel}/cur"):
                out.append(rel + "/")
    return sorted(out)


def mails(root, part=None):
    out = []
    for f in folders(root, "."):
        for p in (part,) if part else ("cur", "new"):
            try:
                out += [f + p + "/" + n for n in os.listdir(f"{root}/{f}{p}")]
            except FileNotFoundError:
                pass
    return sorted(out)


def name():
    global serial
    serial += 1
    return f"17{serial:08}.M{serial}.h"


def text():
    return b"Subject: %d\n\n%s\n" % (serial, b"x" * rnd.randrange(5000))


def deliver(root, f):
    n, t = name(), text()
    with open(f"{root}/{f}tmp/{n}", "wb") as o:
        o.write(t)
    if rnd.random() < 0.5:
        os.rename(f"{root}/{f}tmp/{n}", f"{root}/{f}new/{n}")
    else:
        end = rnd.choice(["", ":2,", ":2,S", ":2,FS", ":2,Sa"])
        os.link(f"{root}/{f}tmp/{n}", f"{root}/{f}cur/{n}{end}")
        os.unlink(f"{root}/{f}tmp/{n}")


def flags(root):
    for m in rnd.sample(all_ := mails(root), min(3, len(all_))):
        f, p, n = m.rsplit("/", 2) if m.count("/") > 1 else ("", *m.split("/"))
        f = f + "/" if f else ""
        base = n.split(":2,")[0]
        os.rename(f"{root}/{m}", f"{root}/{f}cur/{base}:2,{''.join(sorted(rnd.sample('DFRSTab', rnd.randrange(4))))}")


def expunge(root):
    for m in rnd.sample(all_ := mails(root), min(2, len(all_))):
        os.unlink(f"{root}/{m}")


def move(root):
    fs = folders(root, ".")
    for m in rnd.sample(all_ := mails(root), min(2, len(all_))):
        to = rnd.choice(fs)
        n = m.rsplit("/", 1)[1]
        try:
            os.rename(f"{root}/{m}", f"{root}/{to}cur/{n}" if ":2," in n else f"{root}/{to}new/{n}")
        except FileNotFoundError:
            # a letter of this mailbox is shown as another one there
            pass
        except FileExistsError:
            # a message of this base name is there, with other flags
            if not any(x.split(":2,")[0] == n.split(":2,")[0] for p in ("cur", "new") for x in os.listdir(f"{root}/{to}{p}")):
                raise


def copy(root):
    fs = folders(root, ".")
    for m in rnd.sample(all_ := mails(root), min(2, len(all_))):
        to, n = rnd.choice(fs), name()
        end = ":2," + m.split(":2,")[1] if ":2," in m else ""
        os.link(f"{root}/{m}", f"{root}/{to}{'cur' if end else 'new'}/{n}{end}")


def rewrite(root):
    for m in rnd.sample(all_ := mails(root), min(1, len(all_))):
        with open(f"{root}/{m}", "ab") as o:
            o.write(b"more\n")
            if rnd.random() < 0.5:
                o.flush()
                os.fsync(o.fileno())


def touch(root):
    for m in rnd.sample(all_ := mails(root), min(2, len(all_))):
        t = rnd.randrange(10**9, 17 * 10**8)
        os.utime(f"{root}/{m}", (t, t))


def direct(root):
    n = name()
    with open(f"{root}/cur/{n}:2,S", "wb") as o:
        o.write(text())
        if rnd.random() < 0.5:
            o.flush()
            os.fsync(o.fileno())


def make_folder(root, fs_layout):
    n = rnd.choice("ABCDE") + rnd.choice(["", "1", "2"])
    d = f"{root}/{n}" if fs_layout else f"{root}/.{n}"
    if not os.path.exists(d):
        os.mkdir(d)
        for p in ("cur", "new", "tmp"):
            os.mkdir(f"{d}/{p}")


def rename_folder(root, fs_layout):
    fs = [f for f in folders(root, ".") if f and f.count("/") == 1]
    n = rnd.choice("FGH") + rnd.choice(["", "1", "2"])
    d = f"{root}/{n}" if fs_layout else f"{root}/.{n}"
    if fs and not os.path.exists(d):
        os.rename(f"{root}/{rnd.choice(fs)}".rstrip("/"), d)


def delete_folder(root):
    fs = [f for f in folders(root, ".") if f and f.count("/") == 1]
    if fs:
        f = rnd.choice(fs)
        for base, dirs, files in os.walk(f"{root}/{f}", topdown=False):
            for n in files:
                os.unlink(base + "/" + n)
            for n in dirs:
                try:
                    os.rmdir(base + "/" + n)
                except OSError:
                    pass
        try:
            os.rmdir(f"{root}/{f}".rstrip("/"))
        except OSError:
            pass


def aux(root):
    d = f"{root}/notes"
    os.makedirs(d + "/deep", exist_ok=True)
    for i in range(3):
        n = f"{d}/{rnd.choice(['', 'deep/'])}{rnd.randrange(5)}"
        if rnd.random() < 0.3 and os.path.exists(n):
            os.unlink(n)
        else:
            with open(n, rnd.choice(["w", "a"])) as o:
                o.write("y" * rnd.randrange(9000))
    os.rename(d, root + "/notes2")
    os.rename(root + "/notes2", d)


def keywords(root):
    try:
        with open(root + "/dovecot-keywords") as i:
            numbers = [int(line.split()[0]) for line in i]
    except FileNotFoundError:
        numbers = []
    n = max(numbers, default=-1) + 1
    if n < 20:
        with open(root + "/dovecot-keywords", "a") as o:
            o.write(f"{n} word{n}\n")
            o.flush()
            os.fsync(o.fileno())


def subscribe(root):
    with open(root + "/subscriptions", "w") as o:
        o.write("V\t2\n\n" + "".join(f"{x}\n" for x in rnd.sample(["A", "B", "C1", "INBOX"], rnd.randrange(4))))
        o.flush()
        os.fsync(o.fileno())


def change(root, by_mount):
    fs_layout = by_mount and LAYOUT == "fs"
    what = [(8, lambda: deliver(root, rnd.choice(folders(root, ".")))), (6, lambda: flags(root)), (3, lambda: expunge(root)),
            (3, lambda: move(root)), (2, lambda: make_folder(root, fs_layout)), (1, lambda: rename_folder(root, fs_layout)),
            (1, lambda: delete_folder(root))]
    if by_mount:
        what += [(2, lambda: copy(root)), (1, lambda: rewrite(root)), (1, lambda: touch(root)), (1, lambda: direct(root)),
                 (1, lambda: aux(root)), (1, lambda: keywords(root)), (1, lambda: subscribe(root))]
    for fn in rnd.choices([w[1] for w in what], [w[0] for w in what], k=rnd.randrange(1, 8)):
        fn()


def snapshot():
    # What is written in place settles by itself: it may go between listing and looking.
    for i in range(5):
        try:
            return look()
        except FileNotFoundError:
            time.sleep(0.1)
    return look()


def look():
    seen = {}
    for base, dirs, files in os.walk(mnt):
        rel = os.path.relpath(base, mnt)
        for n in sorted(dirs) + sorted(files):
            path = n if rel == "." else rel + "/" + n
            st = os.lstat(f"{mnt}/{path}")
            data = None
            if n in files and path != "subscriptions":
                with open(f"{mnt}/{path}", "rb") as i:
                    data = i.read()
            # A folder that began as a plain directory has another number in the next mount.
            seen[path] = (st.st_ino if n in files else 0, st.st_mode, st.st_nlink, st.st_size if n in files else 0, st.st_mtime_ns, data)
    st = os.lstat(mnt)
    seen["."] = (st.st_mode, st.st_nlink, st.st_mtime_ns)
    # subscriptions is made anew each time it is looked at
    if "subscriptions" in seen:
        seen["subscriptions"] = seen["subscriptions"][1:4]
    for k in list(seen):
        if k.endswith("dovecot-keywords"):
            seen[k] = seen[k][1:4] + (seen[k][5],)
    return seen


def differences(a, b):
    return [f"{k}: kept {a.get(k, 'nothing')!r:.300}; is {b.get(k, 'nothing')!r:.300}" for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)]


def strange(seen):
    """Names that were there once: the kernel has to have forgotten those that are gone, but for old names of messages that are there."""
    inodes = {v[0] for k, v in seen.items() if k != "."}
    out = []
    for path in sorted(known):
        try:
            st = os.lstat(f"{mnt}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            if path in seen:
                out.append(f"{path} is listed but not found")
            continue
        if path not in seen and not (st.st_ino in inodes and ("/cur/" in "/" + path or "/new/" in "/" + path)):
            out.append(f"{path} (inode {st.st_ino}) is found but not listed")
    return out


def check_known(seen):
    # What was written to a mail that somebody expunged meanwhile may just have come back.
    if strange(seen):
        time.sleep(0.2)
        if bad := strange(seen := snapshot()):
            fail("; ".join(bad))
    known.update(k for k in seen if k != ".")


round_ = 0
os.makedirs(side + "/cur")
os.makedirs(side + "/new")
os.makedirs(side + "/tmp")
mount()
for round_ in range(1, ROUNDS + 1):
    for step in range(3):
        change(mnt, True)
        if rnd.random() < 0.7:
            seen = snapshot()
            check_known(seen)
        sync("mirror", "--no-max-delete", "maildir:" + side)
        change(side, False)
        snapshot()
        sync("mirror", "--no-max-delete", "maildir:" + side)
        check_known(snapshot())
    # What is written to in place settles; what cannot become a message stays a file.
    for i in range(100):
        if not glob.glob(store + "/scratch/*.[cnd]/*") + glob.glob(store + "/scratch/edit/*"):
            break
        time.sleep(0.1)
    # A command ends when the kernel has heard of all that was before.
    sync("mailboxes")
    kept = snapshot()
    check_known(kept)
    umount()
    mount()
    fresh = snapshot()
    d = differences(kept, fresh)
    if d:
        fail("the kernel kept what is not so:\n" + "\n".join(d[:20]))
    say("round", round_, len(fresh), "names")
umount()
