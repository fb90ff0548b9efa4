#!/bin/bash
# cve -- bugs that other programs had, as inputs.  Which test stands for which:
#
# CVE-2021-20247 isync: ".." in mailbox names			hostile.sh (N name=p:*, each layout); base_name; fuzz maildir_name
# CVE-2021-3578 isync: answers to what was not asked		hostile.sh (as?: each record in the place of each other)
# CVE-2021-3657 isync: sizes near 2^31, 2^32			hostile.sh (*=n*: every numeric column); backends_dsync_bad
# CVE-2021-44143 isync: a mail that begins with an empty line	here: evil mails
# CVE-2013-0289 isync: whose certificate it is			backends_transport_tcp (a_certificate_for_a_name_...); ssh.sh (known_hosts)
# CVE-2018-14349..14363 mutt: no text, long dates, quotes, "`",	hostile.sh (*=t:*, *=g:*, null, short, empty, N name=p:shell);
#	".." and "/" in UIDs, UIDs of no length			backends_maildir_scan (hostile_lists_give_no_paths); fuzz words
# CVE-2021-32055 mutt: a set that ends in a comma		backends_dsync_bad (D lists that end in a blank); fuzz dsync_stream
# CVE-2021-3181 mutt: ";" groups in To:				here: evil mails; counted work
# CVE-2020-14954, 2021-33515: bytes before and after STARTTLS	backends_transport_tcp (only_what_follows_the_last_line_is_dsyncs);
#								fuzz doveadm; here: words before the protocol
# CVE-2026-33606 Dovecot: protocol in a mail			here: evil mails (dots); fuzz dots; backends_dsync_body
# CVE-2026-33604 Dovecot: a dot behind a bare CR		here: evil mails (CR . CR and so on); fuzz dots
# CVE-2024-23184, 23185, 2020-12100, 2026-27859, 40014 Dovecot:	here: evil mails, counted work; base_hdr_hash
#	100,000 addresses, 10 MB of header, deep MIME
# CVE-2019-7524 Dovecot: sizes in index files			bad_input.sh (each file of a store); fuzz btree pack journal record store_open
# CVE-2026-40017, 40014: keys that collide			sync_strindex
# CVE-2026-27856, 42393 Dovecot: passwords compared		nothing here compares one: it is a client's only (backends_transport_tcp)
# CVE-2026-42394, 2025-59031, 2026-0394: links out of a tree	backends_os (posix_follows_no_link, paths_stay_in_the_tree); here: links
# CVE-2026-47187 sshfs: links that a server makes		dsync has no record for one: hostile.py looks for any link in the location
# CVE-2026-48711 sshfs, 2023-51385, 2025-61984, 2026-35386:	backends_transport (names_that_could_be_something_else_are_refused);
#	hosts and users that begin with "-", or have shell in them	ssh.sh; cli.sh; fuzz words; here: configuration
# CVE-2025-15661 and others of libssh2: memory			ssh.sh with FLAVOUR=asan (hosts that break off, say nonsense, are silent)
# CVE-2023-48795 Terrapin					backends_transport_ssh, ssh.sh: only ciphers and MACs that it does not touch
# CVE-2015-3202, libfuse 3.2.5: the environment of helpers	backends_transport (the_environment_is_cleared); as_user.sh (allow_other)
# offlineimap: no check by default				ssh.sh (StrictHostKeyChecking no lets nobody in)
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3 strace
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }

# ---- evil mails: by the mount, into a second store, into a Dovecot and back ----
EVIL=$TMP/evil
mkdir -p "$EVIL"
cat >"$TMP/evil.py" <<'P'
import sys
top = sys.argv[1]
H = b"From: a@example.org\nSubject: %s\nMessage-ID: <%s@evil>\n"
def put(name, data, head=True):
    with open("%s/%s" % (top, name), "wb") as f:
        f.write((H % (name.encode(), name.encode()) if head else b"") + data)
put("newline", b"\n", False)
put("empty-line-first", b"\n\nbody\n", False)
put("no-header", b"just text, no colon\nand more\n", False)
put("no-newline", b"no end of line", False)
put("dot-first", b".first\n\n.\n", False)
put("dot-only", b".", False)
put("two-dots-only", b"..\n", False)
put("addresses", b"To: " + b",\n ".join(b"u%d@example.org" % i for i in range(100000)) + b"\n\nx\n")
put("groups", b"To: " + b"g:;" * 200000 + b"\nCc: " + b";" * 300000 + b"\n\nx\n")
put("header-10m", b"".join(b"X-H%d: %s\n" % (i, b"v" * 90) for i in range(100000)) + b"\nx\n")
put("one-line-4m", b"X-Long: " + b"l" * (4 << 20) + b"\n\nx\n")
deep = 10000
put("mime-deep", b"MIME-Version: 1.0\n" + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(deep)) + b"\nx\n" +
    b"".join(b"--b%d--\n" % i for i in reversed(range(deep))))
put("mime-rfc822", b"Content-Type: message/rfc822\n\n" * 10000 + b"\nx\n")
put("rfc2231", b"Content-Type: text/plain" + b"".join(b";\n name*%d*=''%%41%%zz%d" % (i, i) for i in range(50000)) + b"\n\nx\n")
put("references", b"References: " + b"\n ".join(b"<r%d@example.org>" % i for i in range(50000)) + b"\n\nx\n")
put("dots", b"\n.\n..\n.x\n\r\n.\r\n.\r.\r\n.!\n.!\r\n...\n.")
put("cr-dot-cr", b"\nx\r.\rX\n")
put("cr-dot-lf", b"\nx\r.\nC\n")
put("cr-cr-lf", b"\nx\r\r\n.\r\r\ny\r\r\n")
put("crlf-dot-crlf", b"\r\nx\r\n.\r\nF\r\nX\r\n")
put("protocol", b"\nX\nVERSION\tdsync\t3\t5\n.\nF\nCs\t1\tg\n\x01\x02\t\x02\n")
put("nuls", b"\n" + b"\0" * 1000 + b"\n\0\n")
put("bare-crs", b"a: b\rc: d\r\rbody\r\n")
put("8bit", b"Subject: \xff\xfe\xed\xa0\x80\n\n" + bytes(range(256)) + b"\n")
put("folds", b"Subject:" + b"\n " * 100000 + b"x\n\nx\n")
put("colons", b":" * 100000 + b"\n: x\n\nx\n")
P
python3 "$TMP/evil.py" "$EVIL"
total=$(find "$EVIL" -type f | wc -l)
hashes() { (cd "$1" && sha1sum -- * | sed 's/:2,[A-Z]*$//' | sort -k2); }
contents() { find "$1" -path '*/[cn][ue][rw]/*' -type f -exec sha1sum {} + | cut -d' ' -f1 | sort; }
lf_hashes() { grep -o 'sha1=[0-9a-f]*' | sort; }
want=$(hashes "$EVIL")
check "mount" mount_store "$STORE" "$MNT"
deliver_evil() { local f; for f in "$EVIL"/*; do cp "$f" "$MNT/tmp/${f##*/}" && mv "$MNT/tmp/${f##*/}" "$MNT/new/${f##*/}" || return 1; done; }
check "evil mails are delivered" deliver_evil
equal "and read back, byte for byte" "$want" "$(hashes "$MNT/new")"
check "unmount" umount_store "$STORE" "$MNT"
check "the store is whole" ds verify
second() { "$SYNC" -o "mail_location=dsyncfs:$TMP/second" "$@"; }
check "over the wire into a second store" ds mirror -- "$SYNC" -o "mail_location=dsyncfs:$TMP/second" dsync-server
check "which is whole" second verify
check "mount that" mount_store "$TMP/second" "$MNT"
equal "it has them byte for byte" "$(sha1sum "$EVIL"/* | cut -d' ' -f1 | sort)" "$(contents "$MNT")"
check "unmount that" umount_store "$TMP/second" "$MNT"
check "a Maildir" ds mirror "maildir:$TMP/md"
equal "has them byte for byte" "$(sha1sum "$EVIL"/* | cut -d' ' -f1 | sort)" "$(contents "$TMP/md")"
equal "nothing came of their contents" INBOX "$(ds mailboxes | cut -f1 | cut -d' ' -f1)"

dovecot_conf box "maildir:$TMP/dovecot/box/mail"
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
script server <<C
#!/bin/sh
exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf dsync-server 2>>$TMP/dovecot/box/log
C
# Its storage takes the CR of each CRLF when it saves, and a dump does so again: of CR CR LF both go.
by_dovecot() {
	python3 -c 'import hashlib, os, sys
for f in os.listdir(sys.argv[1]):
    b = open(sys.argv[1] + "/" + f, "rb").read().replace(b"\r\n", b"\n").replace(b"\r\n", b"\n")
    print("sha1=" + hashlib.sha1(b).hexdigest())' "$EVIL" | sort
}
third() { "$SYNC" -o "mail_location=dsyncfs:$TMP/third" "$@"; }
check "into a Dovecot" again ds mirror -- sh "$TMP/bin/server"
equal "which has the same lines" "$(by_dovecot)" "$(doveadm_dump box | lf_hashes)"
check "and back into a third store" again third mirror -- sh "$TMP/bin/server"
equal "with the same lines" "$(by_dovecot)" "$(third dump | lf_hashes)"
equal "of each" "$total" "$(third dump | grep -c sha1=)"
check "which is whole" third verify
check_not "Dovecot has no complaint" grep -E 'Error|Panic|Fatal|assert' "$TMP/dovecot/box/log"

# ---- work is bounded: counted in system calls, beside a plain mail of the same size ----
calls() {	# FILE: what a first mirror of a Maildir with that mail takes, and one back
	rm -rf "$TMP/one" "$TMP/onestore"
	maildir_new "$TMP/one"
	cp "$1" "$TMP/one/new/1700000000.M1.x"
	strace -f -qq -o "$TMP/calls" "$SYNC" -o "mail_location=dsyncfs:$TMP/onestore" mirror "maildir:$TMP/one" >/dev/null 2>&1 || return 1
	wc -l <"$TMP/calls"
}
for f in addresses groups header-10m one-line-4m mime-deep rfc2231 references folds; do
	size=$(stat -c %s "$EVIL/$f")
	{ printf 'Subject: plain\n\n'; head -c $((size - 16)) /dev/zero | tr '\0' 'p'; } >"$TMP/plain"
	plain=$(calls "$TMP/plain") evil=$(calls "$EVIL/$f")
	check "$f costs what a plain mail of its size does ($evil beside $plain calls)" test "$evil" -le $((plain * 12 / 10 + 50))
done

# ---- links that lead out of a Maildir, and out of a store ----
OUT=$TMP/outside
outside_new() { rm -rf "$OUT"; maildir_new "$OUT"; $MAIL one secret >"$OUT/cur/1.M1.secret:2,S"; echo canary >"$OUT/file"; chmod -R go-rwx "$OUT"; }
outside() { (cd "$OUT" && find . -printf '%P %y %m %s %T@\n' | sort); }
linked() {	# NAME PREPARE: a mirror with the Maildir $TMP/lm, in which PREPARE made a link
	local before rc
	rm -rf "$TMP/lm" "$TMP/ls"
	outside_new
	$MAIL maildir "$TMP/lm" 8
	eval "$2"
	before=$(outside)
	timeout 60 "$SYNC" -o "mail_location=dsyncfs:$TMP/ls" mirror "maildir:$TMP/lm" >"$TMP/l.out" 2>&1; rc=$?
	check "$1: exit $rc" test $rc = 0 -o $rc = 1 -o $rc = 2
	equal "$1: nothing out there is touched" "$before" "$(outside)"
	check_not "$1: nothing came from there" grep -q "sha1=$($MAIL one secret | sha1sum | cut -d' ' -f1)" <("$SYNC" -o "mail_location=dsyncfs:$TMP/ls" dump 2>/dev/null)
	# and the other way: what is new here goes there
	maildir_new "$TMP/lnew"; $MAIL one fresh >"$TMP/lnew/new/1.M1.fresh"
	timeout 60 "$SYNC" -o "mail_location=maildir:$TMP/lm" mirror "maildir:$TMP/lnew" >"$TMP/l.out" 2>&1
	equal "$1: nor written there" "$before" "$(outside)"
	rm -rf "$TMP/lnew"
}
linked "a folder that is a link" 'ln -s "$OUT" "$TMP/lm/.Evil"'
linked "a cur that is a link" 'rm -rf "$TMP/lm/cur"; ln -s "$OUT/cur" "$TMP/lm/cur"'
linked "a new that is a link" 'rm -rf "$TMP/lm/new"; ln -s "$OUT/cur" "$TMP/lm/new"'
linked "a tmp that is a link" 'rm -rf "$TMP/lm/tmp"; ln -s "$OUT/tmp" "$TMP/lm/tmp"'
linked "a mail that is a link" 'ln -s "$OUT/cur/1.M1.secret:2,S" "$TMP/lm/cur/2.M2.x:2,S"'
linked "a mail that is a second name" 'ln -s ../../outside/cur/1.M1.secret:2,S "$TMP/lm/new/2.M2.x"'
for f in dovecot-uidlist dovecot-keywords subscriptions dovecot-uidvalidity maildirfolder; do
	linked "a $f that is a link" "rm -f '$TMP/lm/$f'; ln -s '$OUT/file' '$TMP/lm/$f'"
done
linked "a sidecar that is a link" 'rm -rf "$TMP/lm/dsyncfs-sidecar"; ln -s "$OUT" "$TMP/lm/dsyncfs-sidecar"'
check "files that are not mail" mount_store "$STORE" "$MNT"
mkdir -p "$MNT/.Aux/cur" && echo one >"$MNT/notes"
check "unmount" umount_store "$STORE" "$MNT"
for part in aux packs scratch peers; do
	rm -rf "$TMP/copy"; cp -a "$STORE" "$TMP/copy"; outside_new
	rm -rf "$TMP/moved"; mv "$TMP/copy/$part" "$TMP/moved"; rm -rf "$OUT/part"; mv "$TMP/moved" "$OUT/part"; ln -s "$OUT/part" "$TMP/copy/$part"
	before=$(outside)
	"$SYNC" -o "mail_location=dsyncfs:$TMP/copy" mirror "maildir:$TMP/md2" >/dev/null 2>&1
	if mount_store "$TMP/copy" "$MNT" >/dev/null 2>&1; then
		echo two 2>/dev/null >"$MNT/notes"; $MAIL one late 2>/dev/null >"$MNT/tmp/late" && mv "$MNT/tmp/late" "$MNT/new/late" 2>/dev/null
		umount_store "$TMP/copy" "$MNT"
	fi
	equal "a store's $part that leads elsewhere: nothing out there is touched" "$before" "$(outside)"
done

# ---- words before the protocol, hosts and users that are none ----
script greets <<C
#!/bin/sh
echo "Welcome to this host"
exec "$SYNC" -o "mail_location=dsyncfs:$TMP/second" dsync-server
C
before=$(ds dump)
check "a greeting before the protocol" status 1 ds mirror -- sh "$TMP/bin/greets"
equal "nothing came of it" "$before" "$(ds dump)"
mkdir "$TMP/cwd"
refused_at() { (cd "$TMP/cwd" && status 64 timeout 20 "$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "$1"); }
for h in '-oProxyCommand=touch$IFS/tmp/x' 'a;touch x' '$(touch x)' '`touch x`' $'a\ntouch x' 'a|b' "a'b"; do
	for form in "me@%s" "tcp:%s:12345" "tcps:%s:12345"; do
		where=$(printf "$form" "$h")
		check "${where//$'\n'/\\n} is refused" refused_at "$where"
	done
done
for u in -oProxyCommand=x $'a\nb'; do check "${u//$'\n'/\\n} is no user" refused_at "$u@host.invalid"; done
equal "and ran nothing" "" "$(ls "$TMP/cwd")"
finish
