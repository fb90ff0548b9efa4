#!/usr/bin/env python3
# hostile_peer -- a dsync peer that speaks the protocol as a Dovecot (or a dsyncfs) does, until it comes to one chosen record:
# there it breaks it.  What it does follows from its arguments and a seed alone.
#
#	hostile_peer.py ROLE KIND CASE [DIR]
#
# ROLE master or slave, KIND dovecot or dsyncfs, CASE "LETTER NUMBER BREAKAGE": the NUMBERth record of that kind, counted
# from 0, becomes BREAKAGE; "none" breaks nothing.  DIR: its mail names that directory where a hostile name wants a path.
# Standard input and output are the link.  Exit status 0 as long as it is no fault of its own.
#
# The peer says it has every mail that the other side has, and MINE more in each mailbox and in one of its own.
import hashlib, os, re, sys, threading

COLUMNS = {
    "H": "hostname sync_ns_prefix sync_box sync_box_guid sync_type debug sync_visible_namespaces exclude_mailboxes send_mail_requests "
         "backup_send backup_recv lock_timeout no_mail_sync no_backup_overwrite purge_remote no_notify sync_since_timestamp "
         "sync_max_size sync_flags sync_until_timestamp virtual_all_box empty_hdr_workaround hashed_headers alt_char",
    "S": "mailbox_guid last_uidvalidity last_common_uid last_common_modseq last_common_pvt_modseq last_messages_count changes_during_sync",
    "N": "name existence mailbox_guid uid_validity uid_next last_renamed_or_created subscribed last_subscription_change",
    "D": "hierarchy_sep escape_char mailboxes dirs unsubscribes",
    "B": "mailbox_guid uid_validity uid_next messages_count first_recent_uid highest_modseq highest_pvt_modseq mailbox_lost "
         "mailbox_ignore cache_fields have_guids have_save_guids have_only_guid128",
    "A": "type key value stream deleted last_change modseq",
    "C": "type uid guid hdr_hash modseq pvt_modseq add_flags remove_flags final_flags keywords_reset keyword_changes "
         "received_timestamp virtual_size",
    "R": "guid uid",
    "M": "guid uid pop3_uidl pop3_order received_date saved_date stream",
    "F": "error mail_error require_full_resync",
    "c": "name decision last_used",
}
OWN = {
    "H": "replica dry_run state max_delete_percent max_delete_min sync_boxes stay",
    "S": "end_modseq token",
    "B": "digest common_uid common_modseq",
    "C": "saved_here fetched moved_to elsewhere informed_flags informed_keywords",
    "M": "seen_by_client",
}
NULL = b"\x02"
MINE = 2
ENDLESS = int(os.environ.get("HOSTILE_ENDLESS", 24 << 20))


def esc(b):
    if isinstance(b, str):
        b = b.encode("utf-8", "surrogateescape")
    return b.replace(b"\1", b"\0011").replace(b"\t", b"\1t").replace(b"\r", b"\1r").replace(b"\n", b"\1n").replace(b"\0", b"\0010")


def unesc(b):
    for x, y in ((b"\1t", b"\t"), (b"\1r", b"\r"), (b"\1n", b"\n"), (b"\0010", b"\0"), (b"\0011", b"\1")):
        b = b.replace(x, y)
    return b


def guid(*parts):
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()


def guid128(g):
    """How an expunged mail is named."""
    return g.decode() if re.fullmatch(b"[0-9a-f]{32}", g) else hashlib.sha1(g).hexdigest()[8:]


# ---- the breakages: what a value becomes, what a record becomes ----

NUMBERS = ["0", "1", "-1", "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808",
           "18446744073709551615", "18446744073709551616", "9" * 3000, "", "x", "1x", " 1", "ffffffffffffffff", "10000000000000000"]
TEXTS = {
    "empty": "", "long": "g" * 100000, "slash": "a/b", "up": "../../../evil", "dots": "..", "dot": ".", "nul": "a\0b", "lf": "a\nb", "tab": "a\tb",
    "control": "a\x1b[31mb\x7f", "utf8": "a\udcff\udcfeb", "abs": "%DIR%/evil", "info": "1.M1.x:2,STF", "size": "1.M1.x,S=1,W=2", "hidden": ".evil",
    "dash": "-rf", "shell": "$(touch %DIR%/evil);`touch %DIR%/evil`|&", "null2": "\2x", "percent": "%s%n%x", "uidlist": "x\n9 G1 :../evil",
    "overlong": "\udcc0\udcae\udcc0\udcae/\udcc0\udcae", "len255": "n" * 255, "len64k": "n" * 65536, "colon": ":", "semicolon": ";", "own": "dovecot-uidlist",
}
GUIDS = {"empty": "", "zero": "0" * 32, "short": "abc", "upper": guid("up").upper(), "long": "a" * 40, "nohex": "g" * 32, "first": "%FIRST%",
         "other": guid("other"), "all1": "f" * 32, "kilo": "a" * 100000, "path": "../" * 10 + "ab"}
NAMES = {
    "up": [".."], "upup": ["..", "..", "evil"], "abs": ["", "tmp", "evil"], "slash": ["a/b"], "slashup": ["../../evil"], "sep": ["a.b"], "dotdot": ["a..b"], "lead": [".evil"],
    "cur": ["cur"], "new": ["Work", "new"], "tmp": ["tmp", "x"], "control": ["a\1\x1f\x7f"], "lf": ["a\nb"], "utf8": ["\udcff\udcfe"], "nul": ["a\0b"], "64k": ["n" * 65536],
    "deep": ["d"] * 5000, "inbox": ["inbox"], "inboxsub": ["iNbOx", "x"], "tilde": ["~root"], "home": ["~"], "mutf7": ["&AC4ALgAv-"], "mutf7bad": ["&"], "percent": ["%2e%2e"],
    "sidecar": ["dsyncfs-sidecar"], "sidecar2": ["cur", ".dsyncfs-sidecar"], "uidlist": ["dovecot-uidlist"], "dash": ["-rf"], "shell": ["$(touch %DIR%/evil)"], "empty": [""],
    "emptylevel": ["a", "", "b"], "blank": [" "], "mine": ["%DIR%", "evil"], "backslash": ["..\\evil"], "mount": [".dsyncfs"], "len255": ["n" * 255], "umlauts": ["\u00e4" * 200],
    "overlong": ["\udcc0\udcae\udcc0\udcae"], "work": ["Work"],
}
WHOLE = ["drop", "twice", "many", "null", "short", "wide", "unknown", "lower", "dotbefore", "nodot", "finish", "abort", "eof", "cut", "cutesc", "nul", "longline",
         "crlf", "endless", "endlessnew", "silence", "version", "empty", "binary"] + ["as" + x for x in "HSNDBACRMF"]
BODIES = ["empty", "dot", "dotlf", "nothing", "cut1", "cut2", "cut3", "cut4", "cutlf", "endless", "proto", "mark", "crs", "nuls", "noend", "nostream", "large", "headers", "smaller"]
NUMERIC = {"last_uidvalidity", "last_common_uid", "last_common_modseq", "last_common_pvt_modseq", "last_messages_count", "uid_validity", "uid_next",
           "last_renamed_or_created", "last_subscription_change", "messages_count", "first_recent_uid", "highest_modseq", "highest_pvt_modseq", "last_change",
           "modseq", "uid", "pvt_modseq", "add_flags", "remove_flags", "final_flags", "received_timestamp", "virtual_size", "pop3_order", "received_date",
           "saved_date", "mail_error", "lock_timeout", "sync_since_timestamp", "sync_max_size", "sync_until_timestamp", "dsyncfs_max_delete_percent",
           "dsyncfs_max_delete_min", "dsyncfs_end_modseq", "dsyncfs_common_uid", "dsyncfs_common_modseq", "dsyncfs_token", "dsyncfs_moved_to", "dsyncfs_fetched"}
GUID128 = {"mailbox_guid", "sync_box_guid", "dsyncfs_replica", "dsyncfs_digest"}
LETTERS = {"sync_type": "fcsz", "existence": "yndz", "type": "sfepz"}
LISTS = {"mailboxes", "dirs", "unsubscribes", "keyword_changes", "exclude_mailboxes", "hashed_headers", "cache_fields"}


def columns_of(letter, kind):
    cols = COLUMNS[letter].split()
    if kind == "dsyncfs":
        cols += ["dsyncfs_" + c for c in OWN.get(letter, "").split()]
    return cols


def breakages(letter, kind):
    """Everything that can be done to a record of that kind."""
    out = list(WHOLE)
    for col in columns_of(letter, kind):
        out += [col + "=null"]
        if col in NUMERIC:
            out += ["%s=n%d" % (col, i) for i in range(len(NUMBERS))]
        elif col in GUID128:
            out += ["%s=g:%s" % (col, g) for g in GUIDS]
        elif col in LETTERS:
            out += ["%s=l:%s" % (col, c) for c in LETTERS[col]]
        elif col == "name" and letter == "N":
            out += ["%s=p:%s" % (col, n) for n in NAMES]
        elif col in LISTS:
            out += ["%s=%s" % (col, x) for x in ("flood", "all", "bad", "long", "odd")]
        else:
            out += ["%s=t:%s" % (col, t) for t in TEXTS]
    if letter == "M":
        out += ["body:" + b for b in BODIES]
    if letter == "A":
        out += ["stream:" + b for b in BODIES]
    if letter == "C":
        out += ["expunge", "expungeall", "sameguid", "samepair", "descend", "sameuid"]
    return out


def letters_of(role):
    return "HNDBACRMS" + ("F" if role == "slave" else "")


class Over(Exception):
    pass


class Peer:
    def __init__(self, role, kind, case, where, rd, wr):
        self.role, self.kind, self.where = role, kind, where
        self.letter, self.number, self.how = (case.split(" ") + ["", ""])[:3] if case != "none" else ("", "", "")
        self.count, self.rd, self.wr = {}, rd, wr
        self.data, self.ended, self.cond = bytearray(), False, threading.Condition()
        self.cols, self.boxes = {}, []
        threading.Thread(target=self.reader, daemon=True).start()

    # -- in: a thread takes everything, so that nobody waits for us
    def reader(self):
        while True:
            try:
                b = os.read(self.rd, 65536)
            except OSError:
                b = b""
            with self.cond:
                self.data += b
                self.ended |= not b
                self.cond.notify()
            if not b:
                return

    def take(self, mark):
        """Up to and with mark."""
        with self.cond:
            at = 0
            while True:
                i = self.data.find(mark, at)
                if i >= 0:
                    out = bytes(self.data[:i])
                    del self.data[:i + len(mark)]
                    return out
                at = max(0, len(self.data) - len(mark))
                if self.ended:
                    raise Over
                self.cond.wait()

    def wait_end(self):
        with self.cond:
            while not self.ended:
                self.data.clear()
                self.cond.wait()

    def record(self):
        line = self.take(b"\n")
        if line[:1] in (b"X", b"."):
            return chr(line[0]), {}
        letter = chr(line[0])
        got = {}
        for col, v in zip(self.cols.get(letter, []), line[1:].split(b"\t")):
            if v != NULL:
                got[col] = unesc(v[1:] if v[:2] == NULL * 2 else v)
        if "stream" in got:
            got["body"] = self.take(b"\r\n.\r\n")
        return letter, got

    def records(self, *letters):
        out = []
        while True:
            letter, r = self.record()
            if letter == ".":
                return out
            if letter not in letters:
                raise Over
            out.append(r)

    # -- out
    def put(self, b):
        if isinstance(b, str):
            b = b.encode("utf-8", "surrogateescape")
        try:
            while b:
                b = b[os.write(self.wr, b):]
        except OSError:
            raise Over

    def line(self, letter, values):
        cols = columns_of(letter, self.kind)
        row = [NULL] * len(cols)
        for k, v in values.items():
            if v is not None and k in cols:
                v = v if isinstance(v, bytes) else esc(str(v))
                row[cols.index(k)] = NULL + v if v[:1] == NULL else v
        while len(row) > 1 and row[-1] == NULL:
            row.pop()
        return letter.encode() + b"\t".join(row) + b"\n"

    def say(self, letter, values, body=None):
        n = self.count.get(letter, 0)
        self.count[letter] = n + 1
        if letter == self.letter and n == int(self.number):
            return self.broken(letter, dict(values), body)
        self.put(self.line(letter, values))
        if body is not None:
            self.body(body)

    def body(self, b):
        b = (b"\n" + b).replace(b"\n.", b"\n..")[1:]
        self.put(b + b"\r\n.\r\n")

    def flood(self, piece):
        piece = piece if isinstance(piece, bytes) else piece.encode()
        piece *= max(1, 65536 // len(piece))
        for _ in range(ENDLESS // len(piece)):
            self.put(piece)
            if self.ended:
                raise Over

    def endless_new(self, letter, values):
        """Records that differ from each other, so that each has to be kept."""
        said, i = 0, 0
        while said < ENDLESS:
            out = b""
            for i in range(i + 1, i + 500):
                v = {"name": "e%d" % i, "key": "e%d" % i, "uid": 1000 + i, "guid": guid(i), "mailbox_guid": guid(i), "hostname": "h%d" % i}
                out += self.line(letter, {**values, **{k: x for k, x in v.items() if k in values}, "stream": None})
            self.put(out)
            said += len(out)
            if self.ended:
                raise Over
        self.stop()

    def stop(self):
        raise Over

    def path(self, text):
        first = self.boxes[0]["mailbox_guid"] if self.boxes else guid("x")
        return text.replace("%DIR%", self.where).replace("%FIRST%", first)

    # -- what breaks
    def broken(self, letter, values, body):
        how = self.how
        if how.startswith(("body:", "stream:")):
            values["stream"] = ""
            if how.endswith(":nostream"):
                del values["stream"]
                body = None
            values.pop("value", None)
            self.put(self.line(letter, values))
            return self.bad_body(how.split(":")[1])
        if "=" in how:
            col, what = how.split("=", 1)
            values[col] = self.bad_value(col, what, values)
            self.put(self.line(letter, values))
        elif how == "endlessnew":
            self.endless_new(letter, values)
        elif how in ("expunge", "expungeall"):  # done above
            self.put(self.line(letter, values))
        elif how in ("sameguid", "samepair", "descend", "sameuid"):
            self.bad_rows(how, values)
        else:
            self.bad_record(how, self.line(letter, values), letter)
        if body is not None and values.get("stream") is not None:
            self.body(body)

    def bad_value(self, col, what, values):
        if what == "null":
            return None
        if what[0] == "n" and what[1:].isdigit():
            return NUMBERS[int(what[1:])]
        if what.startswith("g:"):
            return self.path(GUIDS[what[2:]])
        if what.startswith("l:"):
            return what[2:]
        if what.startswith("p:"):
            return b"\1t".join(esc(esc(self.path(p))) for p in NAMES[what[2:]])
        if what.startswith("t:"):
            return self.path(TEXTS[what[2:]])
        if col in ("mailboxes", "dirs", "unsubscribes"):
            now = "2000000000"
            if what == "all" and col == "mailboxes":
                return " ".join("%s %s" % (b["mailbox_guid"], now) for b in self.boxes)
            if what == "all":
                return " ".join("%s %s" % (hashlib.sha1(b["name"].replace("\t", "/").encode()).hexdigest()[:32], now) for b in self.boxes)
            return {"flood": " ".join("%s %s" % (guid(i), now) for i in range(100000)), "bad": "x", "long": "a" * 3000000, "odd": guid(1)}.get(what)
        sep = "\n" if col == "cache_fields" else "\t"
        return {"flood": sep.join("+k%d" % i for i in range(50000)), "all": "=a\t+a\t-a\t&a", "bad": "*\1\0(){%* \"\\", "long": "+" + "k" * 300000,
                "odd": "+$(x)\t+../x\t+\udcff\t+\t\t+a b\t+\n"}[what]

    def bad_body(self, what):
        cut = {"cut1": b"x\n\r", "cut2": b"x\n\r\n", "cut3": b"x\n\r\n.", "cut4": b"x\n\r\n.\r", "cutlf": b"x\n.", "noend": b"x\n"}
        if what in cut:
            self.put(cut[what])
            self.stop()
        if what == "endless":
            self.flood(b"Subject: endless, and on\n")
            self.stop()
        if what == "nostream":
            return
        self.put({"empty": b"\r\n.\r\n", "dot": b".\r\n", "dotlf": b".\n", "nothing": b"", "proto": b"X\nVERSION\tdsync\t3\t5\n.\n", "mark": b"a\n.!\r\n\r\n.\r\n",
                  "crs": b"a\r.\r\r\n..\r\r.\r\n.\r\n", "nuls": b"\0" * 1000 + b"\r\n.\r\n", "large": b"x" * 3000000 + b"\r\n.\r\n",
                  "headers": b"To: " + b"a@b, ;" * 200000 + b"\r\n.\r\n", "smaller": b"S\r\n.\r\n"}[what])

    def bad_rows(self, how, values):
        if how == "descend":
            for u in (90, 80, 70):
                self.put(self.line("C", dict(values, uid=u, guid="d%d" % u)))
        elif how == "sameguid":
            for u in (900, 901, 902):
                self.put(self.line("C", dict(values, uid=u, guid="same")))
        elif how == "samepair":
            self.put(self.line("C", values) * 3)
        else:
            for g in ("one", "two"):
                self.put(self.line("C", dict(values, uid=1, guid=g)))

    def bad_record(self, how, line, letter):
        if how == "drop":
            return
        if how == "eof":
            self.stop()
        if how == "silence":
            self.wait_end()
            self.stop()
        if how == "endless":
            self.flood(line)
            self.stop()
        if how in ("cut", "cutesc"):
            self.put(line[:len(line) // 2] + (b"\1" if how == "cutesc" else b""))
            self.stop()
        if how.startswith("as"):
            other = how[2:]
            first = {"H": {"hostname": "h"}, "N": {"name": "Odd", "existence": "y"}, "D": {"hierarchy_sep": "/"}, "A": {"type": "p", "key": "k", "value": "v"},
                     "C": {"type": "s", "uid": 77, "guid": "odd"}, "R": {"guid": "odd"}, "M": {"guid": "odd"}, "F": {"error": "no"},
                     "S": {"mailbox_guid": guid("x"), "last_uidvalidity": 1, "last_common_uid": 1, "last_common_modseq": 1, "last_common_pvt_modseq": 0},
                     "B": {"mailbox_guid": guid("x"), "uid_validity": 1, "uid_next": 1, "messages_count": 0, "first_recent_uid": 1, "highest_modseq": 1, "highest_pvt_modseq": 0}}
            return self.put(self.line(other, first[other]))
        self.put({"twice": line * 2, "many": line * 300, "null": letter.encode() + b"\t".join([NULL] * 8) + b"\n", "short": letter.encode() + b"\n",
                  "wide": line[:-1] + b"\tx" * 3000 + b"\n", "unknown": b"Q" + line[1:], "lower": line[:1].lower() + line[1:], "dotbefore": b".\n" + line,
                  "nodot": line + b"." + line, "finish": b"F\nX\n", "abort": b"X\n", "nul": line[:2] + b"\0" + line[2:],
                  "longline": line[:-1] + b"\t" + b"l" * 3000000 + b"\n", "crlf": line[:-1] + b"\r\n", "version": b"VERSION\tdsync\t3\t5\n", "empty": b"\n\n\n",
                  "binary": bytes(range(256)) * 8 + b"\n"}[how])

    # -- the protocol, as it should be
    def opening(self):
        out = b"VERSION\tdsync\t3\t5\n"
        for letter in "HSNDBACRMFc":
            out += letter.encode() + "\t".join(columns_of(letter, self.kind)).encode() + b"\n"
        self.put(out + b".\n")
        h = {"hostname": "hostile"}
        if self.role == "master":
            h.update(sync_type="f", send_mail_requests="", hashed_headers="Date\tMessage-ID\t", alt_char="_")
        if self.kind == "dsyncfs":
            h["dsyncfs_replica"] = guid("replica")
        self.say("H", h)

    def hear_opening(self):
        while True:
            line = self.take(b"\n")
            if line == b".":
                break
            if line and not line.startswith(b"VERSION"):
                self.cols[chr(line[0])] = line[1:].decode().split("\t")
        letter, h = self.record()
        if letter != "H":
            raise Over
        if self.role == "slave" and h.get("sync_type") == b"s":
            self.records("S")

    def tree(self):
        theirs = self.records("N")
        for n in theirs:
            if "mailbox_guid" in n and n.get("existence") == b"y":
                self.boxes.append({"name": n["name"].decode("utf-8", "surrogateescape"), "mailbox_guid": n["mailbox_guid"].decode(),
                                   "uid_validity": n.get("uid_validity", b"7").decode()})
        self.boxes.append({"name": "Peer", "mailbox_guid": guid("mine"), "uid_validity": "1700000001"})
        self.say("N", {"name": "Sub\tscribed", "existence": "n", "subscribed": "", "last_subscription_change": 1700000000})
        gone = self.letter == "D" and self.how.endswith("=all")
        for b in self.boxes[-1:] if gone else self.boxes:
            self.say("N", dict(b, existence="y", uid_next=1000, last_renamed_or_created=1600000000))
        self.put(".\n")
        self.say("D", {"hierarchy_sep": "/", "escape_char": "%", "mailboxes": guid("gone") + " 1700000000"})
        self.record()  # their D, which may wait for ours

    def box_record(self, b, highest=1 << 40):
        self.box = b["mailbox_guid"]
        self.say("B", {"mailbox_guid": self.box, "uid_validity": b["uid_validity"], "uid_next": 1000, "messages_count": 7, "first_recent_uid": 1,
                       "highest_modseq": highest, "highest_pvt_modseq": 0, "cache_fields": "flags\tt", "have_guids": "", "have_save_guids": ""})

    def mailbox(self, b):
        """Both have said B."""
        self.records("A")
        rows = [r for r in self.records("C") if r.get("type") != b"e"]
        self.say("A", {"type": "p", "key": "comment", "value": "x", "last_change": 1, "modseq": 1})
        self.say("A", {"type": "s", "key": "vendor/large", "stream": "", "last_change": 1, "modseq": 1}, b"attribute\n")
        self.put(".\n")
        for i, r in enumerate(rows):
            if self.how == "expungeall" or (self.how == "expunge" and i == 0):
                self.put(self.line("C", {"type": "e", "uid": r["uid"], "guid": guid128(r.get("guid", b""))}))
                continue
            self.put(self.line("C", {"type": "s", "uid": r["uid"], "guid": esc(r.get("guid", b"")), "modseq": r.get("modseq"), "final_flags": r.get("final_flags"),
                                     "virtual_size": "ffffffffffffffff"}))
        for i in range(MINE):
            self.say("C", {"type": "s", "uid": 500 + i, "guid": self.mail_guid(i), "modseq": 5 + i, "final_flags": "8", "keyword_changes": "=kw%d" % i,
                           "virtual_size": "ffffffffffffffff", "add_flags": "8", "received_timestamp": "60000000"})
        self.put(".\n")
        wants = self.records("R")
        if rows:
            self.say("R", {"guid": esc(rows[0].get("guid", b"")), "uid": rows[0]["uid"]})
        else:
            self.say("R", {}) if self.letter == "R" else None
        self.put(".\n")
        for w in wants:
            g = w.get("guid", b"").decode("utf-8", "surrogateescape")
            self.say("M", {"guid": g, "pop3_uidl": "u", "pop3_order": 3, "received_date": 1700000000, "saved_date": 1700000000, "stream": ""},
                     b"Subject: of the peer\nMessage-ID: <%s@peer>\n\n.dot\nbody\n" % hashlib.md5(g.encode("utf-8", "surrogateescape")).hexdigest().encode())
        self.put(".\n")
        self.records("M")
        self.say("S", {"mailbox_guid": self.box, "last_uidvalidity": b["uid_validity"], "last_common_uid": 501, "last_common_modseq": 10,
                       "last_common_pvt_modseq": 0, "last_messages_count": 7})
        while self.record()[0] not in "SX":
            pass

    def mail_guid(self, i):
        return guid("mail", self.box, i)

    def as_master(self):
        for b in self.boxes:
            self.box_record(b)
            letter, r = self.record()
            if letter != "B":
                raise Over
            if "mailbox_lost" not in r and "mailbox_ignore" not in r:
                self.mailbox(b)
        self.put(".\n")
        self.record()

    def as_slave(self):
        while True:
            letter, r = self.record()
            if letter != "B":
                break
            mine = [b for b in self.boxes if b["mailbox_guid"] == r["mailbox_guid"].decode()]
            if not mine:
                self.put(self.line("B", {"mailbox_guid": r["mailbox_guid"], "uid_validity": 0, "uid_next": 0, "messages_count": 0, "first_recent_uid": 0,
                                         "highest_modseq": 0, "highest_pvt_modseq": 0, "mailbox_lost": "", "cache_fields": ""}))
                continue
            self.box_record(mine[0])
            self.mailbox(mine[0])
        self.say("F", {})
        self.put("X\n")

    def run(self):
        try:
            self.opening()
            self.hear_opening()
            self.tree()
            (self.as_master if self.role == "master" else self.as_slave)()
            return True
        except Over:
            return False
        finally:
            try:
                os.close(self.wr)
            except OSError:
                pass


def main():
    role, kind, case = sys.argv[1:4]
    p = Peer(role, kind, case, sys.argv[4] if len(sys.argv) > 4 else "/nowhere", os.dup(0), os.dup(1))
    os.close(1)
    whole = p.run()
    if case == "none" and not whole:
        sys.exit("hostile_peer: an honest session was broken off: %r" % bytes(p.data[:300]))
    p.wait_end()


if __name__ == "__main__":
    main()
