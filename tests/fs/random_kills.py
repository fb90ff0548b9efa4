#!/usr/bin/env python3
"""
random_kills -- random operations on the mail folders of a mount and of a plain
Maildir at once (random_ops.py); then the mount is killed, mounted again, and
all that is in cur and new is alike.  So again and again.

usage: random_kills.py MOUNT PLAIN SEED KILLS PROGRAM STORE
PROGRAM is dsyncfs, STORE the directory that is mounted.
"""
import os
import random
import signal
import subprocess
import sys
import time

import random_ops

mount, plain, seed, kills = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
program, store = sys.argv[5:]
run = random_ops.Run([mount, plain], seed)
run.run(40)
r = random.Random(seed)


def again():
    """All processes of the mount are killed; the store is free once they are gone."""
    command = "dsyncfs:%s " % store
    for pid in subprocess.run(["pgrep", "-f", command], capture_output=True, text=True).stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    subprocess.run(["fusermount3", "-uz", mount], check=True)
    end = time.monotonic() + 60
    while True:
        said = os.path.join(os.path.dirname(store), "mount.log")
        with open(said, "w") as log:
            if subprocess.run([program, "dsyncfs:" + store, mount], stdout=log, stderr=log).returncode == 0:
                return
        if time.monotonic() > end:
            with open(said) as log:
                sys.exit("cannot be mounted again: " + log.read())
        time.sleep(0.1)  # what was killed still has the store


def mail(root):
    """Names, sizes, modes and contents; of link counts those with a name in tmp would differ."""
    return {name: got[:1] + got[2:] for name, got in random_ops.contents(root).items() if "tmp/" not in name}


on_one = [run.rename] * 3 + [run.write] * 2 + [run.link, run.unlink, run.rewrite, run.truncate, run.see, run.empty]
others = [run.create] * 4 + [run.deliver] * 2 + [run.list, run.durable_folder]
for _ in range(kills):
    for _ in range(r.randrange(5, 60)):
        run.step += 1
        op = r.choice(on_one + others)
        if op in others:
            op()
        elif (one := run.any_name()) is not None:
            op(*one)
        if r.random() < 0.02:
            time.sleep(random_ops.PAUSE)
    time.sleep(r.choice([0, 0, 0.5, 1.1]))
    again()
    time.sleep(r.choice([0, random_ops.PAUSE]))
    run.both("mail after a kill", lambda root, _: mail(root))
    # A file in tmp that was not fsynced may be gone.
    for folder in random_ops.FOLDERS:
        if folder.endswith("tmp"):
            for root in run.roots:
                for name in os.listdir(os.path.join(root, folder)):
                    os.unlink(os.path.join(root, folder, name))
        run.look(folder)
