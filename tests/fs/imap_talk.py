#!/usr/bin/env python3
"""imap_talk -- says lines of standard input to an IMAP server and prints the whole talk.

usage: imap_talk.py COMMAND...	a server that takes its client for logged in (PREAUTH)

A line is a command; {@FILE} in it is that file as a literal.  Besides:
  IDLE			is begun; any command ends it
  ?REGEX		waits for such an untagged line, and prints only that
  !COMMAND		a command of the shell, its output is printed
What differs from one server to another of the same kind is replaced: UIDVALIDITY, HIGHESTMODSEQ, times that something
took.  LIST and STATUS come sorted, a file system has its own order.
"""
import re
import select
import subprocess
import sys
import time

PATIENCE = 20


class Talk:
    def __init__(self, argv):
        self.server = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.left = b""
        self.idle = False
        self.tag = 0
        self.line()

    def more(self, end):
        if not select.select([self.server.stdout], [], [], max(0, end - time.monotonic()))[0]:
            return False
        data = self.server.stdout.read(65536)
        if not data:
            sys.exit("the server has ended")
        self.left += data
        return True

    def line(self, patience=PATIENCE):
        """A line, with the literals in it; None when none comes."""
        end = time.monotonic() + patience
        at = 0
        while True:
            n = self.left.find(b"\n", at)
            m = n >= 0 and re.search(rb"\{(\d+)\}\r?$", self.left[at:n])
            if n >= 0 and not m:
                line, self.left = self.left[:n], self.left[n + 1:]
                return line.rstrip(b"\r")
            if m:
                at = n + 1 + int(m[1])
                if len(self.left) >= at:
                    continue
                at = n - len(m[0])
            if not self.more(end):
                return None

    def send(self, data):
        self.server.stdin.write(data)

    def begin(self, command):
        if self.idle:
            self.send(b"DONE\r\n")
            self.finish(lambda line: None)
            self.idle = False
        self.tag += 1
        out = b"t%d " % self.tag
        for i, part in enumerate(re.split(r"\{@([^}]*)\}", command)):
            if i % 2:
                data = open(part, "rb").read()
                out += b"{%d+}\r\n" % len(data) + data
            else:
                out += part.encode()
        self.send(out + b"\r\n")

    def finish(self, see):
        while True:
            line = self.line()
            if line is None:
                sys.exit("the server does not answer")
            see(line)
            if line.startswith(b"t%d " % self.tag) or (self.idle and line.startswith(b"+")):
                return

    def wait(self, regex):
        while True:
            line = self.line()
            if line is None:
                sys.exit("waited in vain for: " + regex)
            if line.startswith(b"t%d " % self.tag):
                sys.exit("waited in vain for: " + regex)
            if re.search(regex.encode(), line):
                return line


def plain(line):
    line = line.decode("utf-8", "backslashreplace")
    line = re.sub(r"UIDVALIDITY \d+", "UIDVALIDITY", line)
    line = re.sub(r"HIGHESTMODSEQ \d+", "HIGHESTMODSEQ", line)
    line = re.sub(r"(APPENDUID|COPYUID) \d+", r"\1", line)
    return re.sub(r" \([0-9.]+ \+ [0-9.]+.*? secs\)", "", line)


def say(lines):
    out, group = [], []
    for line in map(plain, lines):
        if re.match(r"\* (LIST|LSUB|STATUS) ", line):
            group.append(line)
            continue
        out += sorted(group) + [line]
        group = []
    print("\n".join(out + sorted(group)), flush=True)


def main():
    talk = Talk(sys.argv[1:])
    for command in sys.stdin.read().split("\n"):
        command = command.strip()
        if not command or command.startswith("#"):
            continue
        print("> " + command, flush=True)
        if command[0] == "!":
            subprocess.run(["bash", "-c", command[1:]], stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
            continue
        if command[0] == "?":
            say([talk.wait(command[1:])])
            continue
        talk.begin(command)
        talk.idle = command == "IDLE"
        seen = []
        talk.finish(seen.append)
        say(seen)
    return 0


sys.exit(main())
