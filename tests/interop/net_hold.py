#!/usr/bin/env python3
"""net_hold -- runs a dsync server whose stream stands still in its middle.

	net_hold.py HOLD PIDS COMMAND...

HOLD has a line `in BYTES` (what comes to the command) or `out BYTES` (what it says): after so many bytes nothing passes that way, nothing
is read there, and HOLD.held is there, until HOLD is removed.  PIDS gets a line with the command's process.
"""
import os
import subprocess
import sys
import threading
import time


def carry(source, target, left, hold):
    """To the end; left: None, or the bytes after which it stands still."""
    try:
        while True:
            if left == 0:
                open(hold + ".held", "w").close()
                while os.path.exists(hold):
                    time.sleep(0.02)
                left = None
            some = os.read(source, 65536 if left is None else min(left, 65536))
            if not some:
                break
            left = None if left is None else left - len(some)
            while some:
                some = some[os.write(target, some):]
    except OSError:
        pass
    # Both ends: whoever writes more into source is told, as by sshd.
    os.close(source)
    os.close(target)


def main():
    hold, pids, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    try:
        way, count = open(hold).read().split()
    except (OSError, ValueError):  # just gone
        os.execvp(command[0], command)
    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    with open(pids, "a") as f:
        f.write("%d\n" % p.pid)
    left = {way: int(count)}
    threads = [threading.Thread(target=carry, daemon=True, args=a) for a in (
        (0, os.dup(p.stdin.fileno()), left.get("in"), hold), (os.dup(p.stdout.fileno()), 1, left.get("out"), hold))]
    p.stdin.close()
    p.stdout.close()
    for t in threads:
        t.start()
    status = p.wait()
    threads[1].join()
    # Whoever called may still send; nobody is there to read it.
    os._exit(status if status >= 0 else 128 - status)


main()
