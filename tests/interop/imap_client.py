#!/usr/bin/env python3
"""imap_client -- an IMAP client that stays connected while others change its mailbox.

usage: imap_client.py COMMAND...	a server that takes its client for logged in (PREAUTH)

Selects INBOX and then answers lines of standard input:
  look		NOOP, then all it sees is checked; prints what the server told:
		"exists N", "expunge UID...", "flags UID(FLAG...) ..."
  set UID FLAG	stores a flag
  end		LOGOUT
What a client must not see ends it with a line "unexpected: ...": BYE, a UID that
changes or comes in the wrong order, an EXISTS that shrinks, numbers that are not
there, a new UIDVALIDITY, flags that the server did not tell of.
"""
import re
import subprocess
import sys


class Unexpected(Exception):
    pass


class Client:
    def __init__(self, argv):
        self.server = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.tag = 0
        self.uids = []        # by sequence number; None: not fetched yet
        self.flags = {}       # by UID
        self.told = []
        self.validity = None
        self.line(self.read())
        self.run("SELECT INBOX")

    def read(self):
        line = self.server.stdout.readline()
        if not line:
            raise Unexpected("the server has ended")
        return line.decode().rstrip("\r\n")

    def run(self, command):
        self.tag += 1
        self.server.stdin.write(f"t{self.tag} {command}\r\n".encode())
        self.server.stdin.flush()
        while True:
            line = self.read()
            if line.startswith(f"t{self.tag} "):
                if not line.startswith(f"t{self.tag} OK"):
                    raise Unexpected(line)
                return
            self.line(line)

    def line(self, line):
        if line.startswith("* BYE"):
            raise Unexpected(line)
        m = re.match(r"\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: \((.*)\))?$", line)
        if m:
            {"EXISTS": self.on_exists, "EXPUNGE": self.on_expunge, "FETCH": self.on_fetch}[m[2]](int(m[1]), m[3])
        m = re.match(r"\* OK \[UIDVALIDITY (\d+)\]", line)
        if m:
            if self.validity not in (None, m[1]):
                raise Unexpected("another UIDVALIDITY")
            self.validity = m[1]

    def on_exists(self, n, _):
        if n < len(self.uids):
            raise Unexpected(f"{n} EXISTS after {len(self.uids)}")
        if n > len(self.uids):
            self.told.append(f"exists {n}")
        self.uids += [None] * (n - len(self.uids))

    def on_expunge(self, n, _):
        if not 1 <= n <= len(self.uids):
            raise Unexpected(f"{n} EXPUNGE of {len(self.uids)}")
        uid = self.uids.pop(n - 1)
        self.flags.pop(uid, None)
        self.told.append(f"expunge {uid}")

    def on_fetch(self, n, items):
        if not 1 <= n <= len(self.uids):
            raise Unexpected(f"{n} FETCH of {len(self.uids)}")
        m = re.search(r"UID (\d+)", items)
        uid = int(m[1]) if m else self.uids[n - 1]
        if self.uids[n - 1] not in (None, uid):
            raise Unexpected(f"{n} had UID {self.uids[n - 1]} and has {uid}")
        self.uids[n - 1] = uid
        m = re.search(r"FLAGS \(([^)]*)\)", items)
        if m and uid is not None:
            flags = sorted(f for f in m[1].split() if f != "\\Recent")
            if self.flags.get(uid) != flags and uid in self.flags:
                self.told.append(f"flags {uid}({' '.join(flags)})")
            self.flags[uid] = flags

    def look(self):
        """What NOOP tells has to be all: a full look after it brings nothing new."""
        self.told = []
        before = [u for u in self.uids if u is not None]
        self.run("NOOP")
        told, self.told = self.told, []
        known = dict(self.flags)
        if self.uids:
            self.run("UID FETCH 1:* (UID FLAGS)")
        if self.told:
            raise Unexpected("told only when asked: " + ", ".join(self.told))
        if None in self.uids:
            raise Unexpected("a message without UID")
        if self.uids != sorted(set(self.uids)):
            raise Unexpected(f"UIDs out of order: {self.uids}")
        new = [u for u in self.uids if u not in before]
        if before and new and min(new) < max(before):
            raise Unexpected(f"a new UID {min(new)} below {max(before)}")
        for uid, flags in known.items():
            if self.flags.get(uid) != flags:
                raise Unexpected(f"{uid} has other flags than told")
        return told


def main():
    client = Client(sys.argv[1:])
    client.look()
    print("ready", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "look":
            print(", ".join(client.look()) or "nothing", flush=True)
        elif words[0] == "set":
            client.run(f"UID STORE {words[1]} +FLAGS.SILENT ({words[2]})")
            client.flags.pop(int(words[1]), None)
            print("set", flush=True)
        elif words[0] == "end":
            client.server.stdin.write(b"end LOGOUT\r\n")
            client.server.stdin.close()
            client.server.wait()
            print("ended", flush=True)
            return 0
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unexpected as e:
        print(f"unexpected: {e}", flush=True)
        sys.exit(1)
