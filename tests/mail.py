#!/usr/bin/env python3
"""mail -- makes sample mails, the same for the same seed.

	mail.py deliver MAILDIR N [SEED]	delivers N mails as an MTA does (tmp, fsync, rename to new)
	mail.py one SUBJECT [BODY]		one mail on standard output
	mail.py show I [SEED]			mail number I on standard output
	mail.py hash FILE...			SHA-1 and size with LF line ends, of each, as dump has them
	mail.py state DIR [HEADER...]		each folder and mail below DIR: where, new or cur, flags, keywords, SHA-1 without
						Received and the other headers named, subject; not its name, which programs choose at random
	mail.py maildir DIR N [SEED]		a Maildir with three folders, flags and dates
	mail.py large SUBJECT MB		one mail of so many million bytes, with all that is hard to carry
"""
import hashlib
import os
import random
import re
import sys
import time

WORDS = ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau "
         "upsilon").split()
KINDS = 13


def text(r, lines):
    return [" ".join(r.choice(WORDS) for _ in range(r.randrange(1, 12))) for _ in range(lines)]


def make(i, seed):
    """Bytes and received date of mail number i."""
    r = random.Random("mail:%s:%d" % (seed, i))
    when = 1600000000 + r.randrange(100000000)
    kind = i % KINDS
    head = ["From: %s <%s@example.org>" % (r.choice(WORDS), r.choice(WORDS)), "To: user@example.org",
            "Subject: mail%d %s" % (i, " ".join(text(r, 1))), "Message-ID: <%d.%s@example.org>" % (i, seed),
            "Date: " + time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(when))]
    body = text(r, r.choice([3, 10, 40]))
    end = b"\n"
    if kind == 1:
        body.append("Grüße, 8 bit: äöü€ ☃")
    elif kind == 2:
        body = [".", "..", ".a dot", "."] + body + ["."]
    elif kind == 3:
        head.append("X-Long: " + "x" * 900)
    elif kind == 4:
        head.append("X-Folded: a\n\tb\n c")
    elif kind == 5:
        body.insert(0, "From the start of a line")
    elif kind == 6:
        end = b""
    m = ("\n".join(head) + "\n\n" + "\n".join(body)).encode() + end
    if kind == 7:
        m = ("\n".join(head) + "\n\n").encode()
    elif kind == 8:
        m += bytes(r.choice(range(128, 256)) for _ in range(200)) + b"\n"
    elif kind == 9:
        m = m.replace(b"\n", b"\r\n")
    elif kind == 10:
        m = m.replace(b"\n", b"\r\n", 9) + b"\r.\r\n\r\r\n.\n"
    elif kind == 11:
        m += b"".join(b"%064d\n" % n for n in range(3000 if i > KINDS else 46000))
    elif kind == 12:
        m = ("\n".join(head) + "\n").encode()
    return m, when


def large(out, subject, size):
    """Dots at the beginning of lines, 8 bits, both line ends, bare CRs; no two parts of it are the same."""
    r = random.Random("large:" + subject)
    odd = [b".", b"..", b".\r", b"..\r", b".two\r\r\n.", b"a\rb\r.c", b"", b"\r", b"\xc3\xbc\xff\x01\x02\t", b"X", b"F"]
    part = [r.choice(odd) if i % 3 else r.getrandbits(8 * 300).to_bytes(300, "big").replace(b"\n", b"") for i in range(900)]
    part = b"\n".join(part) + b"\n"
    written = out.write(("From: a@example.org\nSubject: %s\n\n" % subject).encode())
    n = 0
    while written < size:
        written += out.write(b".%s %d\r\n" % (subject.encode(), n) + part)
        n += 1
    out.write(b".the end.\n.")


def put(path, data, when):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, data) if len(data) < 1 << 20 else [os.write(fd, data[n:n + 65536]) for n in range(0, len(data), 65536)]
    os.fsync(fd)
    os.close(fd)
    os.utime(path, (when, when))


def deliver(box, n, seed):
    for i in range(n):
        data, when = make(i, seed)
        name = "%d.M%dP%d.%s" % (when, i, os.getpid(), seed)
        put("%s/tmp/%s" % (box, name), data, when)
        os.rename("%s/tmp/%s" % (box, name), "%s/new/%s" % (box, name))


def maildir(top, n, seed):
    r = random.Random("maildir:%s" % seed)
    boxes = [top, top + "/.Work", top + "/.Archive.2024", top + "/.Entw&APw-rfe"]
    for b in boxes:
        for d in "cur", "new", "tmp":
            os.makedirs(b + "/" + d, exist_ok=True)
    for i in range(n):
        data, when = make(i, seed)
        name = "%d.M%dP7.%s" % (when, i, seed)
        flags = "".join(f for f in "DFPRST" if r.random() < .25)
        where = "/new/" if r.random() < .2 else "/cur/"
        put(boxes[i % 4] + where + name + ("" if where == "/new/" else ":2," + flags), data, when)


def mail_line(path, f, keywords, without):
    data = open(path + "/" + f, "rb").read()
    head, sep, body = data.partition(b"\n\n")
    head = re.sub(rb"(?mi)^(?:%s):[^\n]*\n(?:[ \t][^\n]*\n)*" % b"|".join(without), b"", head + b"\n")
    subject = re.search(rb"(?mi)^subject: *([^\r\n]*)", head)
    letters = f.partition(":2,")[2]
    flags = "".join(sorted(c for c in letters if not c.islower()))
    named = ",".join(sorted(keywords.get(c, c) for c in letters if c.islower()))
    return "%s %s %s %s %s" % (flags or "-", named or "-", hashlib.sha1(head + sep + body).hexdigest(),
                               len(head + sep + body), subject[1].decode(errors="replace") if subject else "")


def state(top, without):
    out = []
    for path, dirs, _ in os.walk(top):
        dirs[:] = [d for d in dirs if d not in (".dsyncfs", ".git", ".notmuch")]
        if not {"cur", "new", "tmp"} <= set(dirs):
            continue
        dirs[:] = [d for d in dirs if d not in ("cur", "new", "tmp")]
        name = os.path.relpath(path, top)
        keywords = {}
        try:
            for line in open(path + "/dovecot-keywords"):
                number, _, word = line.rstrip("\n").partition(" ")
                keywords[chr(ord("a") + int(number))] = word
        except FileNotFoundError:
            pass
        out.append(name)
        for part in "cur", "new", "tmp":
            for f in os.listdir(path + "/" + part):
                out.append("%s %s %s" % (name, part, mail_line(path + "/" + part, f, keywords, without)))
    print("\n".join(sorted(out)))


def main(a):
    if a[0] == "deliver":
        deliver(a[1], int(a[2]), a[3] if len(a) > 3 else "1")
    elif a[0] == "maildir":
        maildir(a[1], int(a[2]), a[3] if len(a) > 3 else "1")
    elif a[0] == "show":
        sys.stdout.buffer.write(make(int(a[1]), a[2] if len(a) > 2 else "1")[0])
    elif a[0] == "one":
        sys.stdout.write("From: Ann <ann@example.org>\nTo: user@example.org\nSubject: %s\nMessage-ID: <%s@example.org>\n"
                         "Date: Mon, 02 Mar 2026 10:00:00 +0000\n\n%s\n"
                         % (a[1], a[1].replace(" ", "."), a[2] if len(a) > 2 else "Body of " + a[1]))
    elif a[0] == "large":
        large(sys.stdout.buffer, a[1], int(a[2]) * 1000000)
    elif a[0] == "state":
        state(a[1], [b"Received"] + [h.encode() for h in a[2:]])
    elif a[0] == "hash":
        for f in a[1:]:
            data = open(f, "rb").read().replace(b"\r\n", b"\n")
            print(hashlib.sha1(data).hexdigest(), len(data), f)
    else:
        sys.exit(__doc__)


main(sys.argv[1:] or ["help"])
