#!/bin/bash
# many_users -- -A and -F: a sync for each user, in a process of his own that has no rights but his.  As root in a mount namespace
# with a user database of its own: the machine's is never touched.
. "$(dirname "$0")/../real.sh"
needs python3 unshare setpriv fusermount3 mknod getent pgrep ps

# ---- what any user may and may not ----

maildir_new "$TMP/own"
mail "$TMP/own" 1
mkdir "$TMP/open" && chmod 1777 "$TMP/open" && chmod 755 "$TMP"
printf '# nobody but me\n%s\n' "$(id -un)" >"$TMP/me"
printf 'root\ndaemon\n' >"$TMP/two"
unprivileged() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi; }
check "only root acts for others (-F)" status 77 unprivileged "$SYNC" -F "$TMP/two" backup "maildir:$TMP/open/x"
check "says for whom" says "only root can act for user 'root'" unprivileged "$SYNC" -F "$TMP/two" backup "maildir:$TMP/open/x"
check "and not for all (-A)" status 77 unprivileged "$SYNC" -A -o first_valid_uid=1 backup "maildir:$TMP/open/x"
printf 'good\n\nnot good\n-x\n..\n' >"$TMP/wrong"
check "a file with mistakes" status 64 "$SYNC" -F "$TMP/wrong" backup "maildir:$TMP/x"
check "by line" says "$TMP/wrong:3: 'not good' is not valid" "$SYNC" -F "$TMP/wrong" backup "maildir:$TMP/x"
check "each of them" says "$TMP/wrong:5: '..' is not valid" "$SYNC" -F "$TMP/wrong" backup "maildir:$TMP/x"
check "nobody in it" says "no user is named" "$SYNC" -F /dev/null backup "maildir:$TMP/x"
check "-A and -u" status 64 "$SYNC" -A -u root backup "maildir:$TMP/x"
check "-A of status" status 64 "$SYNC" -A status
check "none was made" test ! -e "$TMP/x" -a ! -e "$TMP/open/x"

if [ "$(id -u)" != 0 ]; then
	# The one user that he may act for is he himself.
	check "one may act for oneself" status 0 "$SYNC" -o "mail_location=maildir:$TMP/own" -F "$TMP/me" mirror "maildir:$TMP/copy"
	check "the mail is there" test -f "$TMP/copy/new/170000001.M1.test" -o -f "$TMP/copy/cur/170000001.M1.test"
	finish
fi

# ---- root: from here on in a namespace ----

if [ "${MANY_USERS:-}" != inside ]; then
	MANY_USERS=inside unshare --mount --propagation private bash "$0"
	report $? "in a mount namespace with users of its own" "see above"
	finish
fi

# NAME:UID, one home each; "ro@x.org" is a name as mail servers have them.
users=(ann:4001 bob:4002 cyd:4003 dan:4004 ro@x.org:4005)
{
	echo 'root:x:0:0:root:/nonexistent:/bin/bash'
	echo 'daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin'
	for u in "${users[@]}"; do echo "${u%:*}:x:${u#*:}:${u#*:}::$TMP/home/${u%:*}:/bin/sh"; done
	echo "gone:x:4006:4006::$TMP/home/gone:/bin/sh"
	echo "toor:x:0:0::$TMP/home/toor:/bin/sh"
	echo 'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin'
} >"$TMP/passwd"
{
	echo 'root:x:0:'
	echo 'daemon:x:1:'
	for u in "${users[@]}"; do echo "g${u#*:}:x:${u#*:}:"; done
	echo 'mailers:x:4500:ann'
	echo 'nogroup:x:65534:'
} >"$TMP/group"
echo 'passwd: files' >"$TMP/nsswitch"
echo 'group: files' >>"$TMP/nsswitch"
chmod 644 "$TMP/passwd" "$TMP/group" "$TMP/nsswitch"
mount --bind "$TMP/passwd" /etc/passwd && mount --bind "$TMP/group" /etc/group || { echo "FAIL: cannot bind"; exit 1; }
[ ! -e /etc/nsswitch.conf ] || mount --bind "$TMP/nsswitch" /etc/nsswitch.conf || { echo "FAIL: cannot bind"; exit 1; }
equal "the users are the test's own" "$(cat "$TMP/passwd")" "$(getent passwd)"
on_exit 'umount /etc/passwd; umount /etc/group; umount /etc/nsswitch.conf 2>/dev/null'

chmod 755 "$TMP/home"
mkdir "$TMP/far"
chmod 1777 "$TMP/far"
i=0
for u in "${users[@]}"; do
	h=$TMP/home/${u%:*} i=$((i + 1))
	maildir_new "$h/Maildir"
	mail "$h/Maildir" $i "" "for ${u%:*}"
	mail "$h/Maildir" 1$i S "seen by ${u%:*}"
	chmod 700 "$h"
	chown -R "${u#*:}:${u#*:}" "$h"
	install -d -m 700 -o "${u#*:}" -g "${u#*:}" "$TMP/far/${u%:*}"
done
mkdir -p "$TMP/home/toor"
# Not root's to see: what root has in its environment, its own configuration, its descriptors.
export ROOTS_SECRET=secret
CONF=$TMP/many.conf
printf 'mail_location = maildir:~/Maildir\nmax_parallel = 2\nlast_valid_uid = 4999\n' >"$CONF"
chmod 644 "$CONF"
many() { "$SYNC" -c "$CONF" "$@" 7</etc/hostname; }
printf 'ann\nbob # the second\n\n# nobody\nann\nro@x.org\n' >"$TMP/three"
echo ann >"$TMP/self"

# ---- all go well ----

many -F "$TMP/three" backup "maildir:$TMP/far/%u/mail" >"$TMP/out" 2>"$TMP/err"
equal "all done: 0" 0 $?
equal "a line for each, with what was done" "$(printf '%s: done: 2 saved, 0 copied, 0 flag changes, 0 expunged, 0 renumbered\n' ann bob ro@x.org)" \
	"$(sort "$TMP/out" | sed 's/, [0-9.]* k*B$//')"
equal "and nothing else is said" "" "$(cat "$TMP/err")"
equal "what was made is the user's" "ann 4001 4001 bob 4002 4002 ro@x.org 4005 4005" \
	"$(for u in ann bob ro@x.org; do echo "$u $(find "$TMP/far/$u/mail" "$TMP/home/$u" -printf '%U %G\n' | sort -u)"; done | xargs)"
equal "and nobody else may look" "" "$(find "$TMP/far/ann/mail" -perm /077)"
check "each has his own mail" grep -rq "for bob" "$TMP/far/bob/mail"
check_not "and nobody else's" grep -rq "for bob" "$TMP/far/ann/mail"

# ---- some do not ----

# gone has no home, cyd's Maildir is a file, dan's cannot be read by him.
rm -r "${TMP:?}/home/cyd/Maildir" && echo x >"$TMP/home/cyd/Maildir" && chown 4003 "$TMP/home/cyd/Maildir"
mail "$TMP/home/ann/Maildir" 21 && chown 4001 "$TMP/home/ann/Maildir/new/"*
chown 0:0 "$TMP/home/dan/Maildir/new" && chmod 700 "$TMP/home/dan/Maildir/new"
many -A backup "maildir:$TMP/far/%u/mail" >"$TMP/out" 2>"$TMP/err"
rc=$?
equal "all users are those from 500 to 4999, a line each" "ann bob cyd dan gone ro@x.org" "$(cut -d: -f1 "$TMP/out" | sort | xargs)"
check "those who can are served" grep -q "^ann: done: 1 saved" "$TMP/out"
check "the last one too" grep -q "^ro@x.org: done: 0 saved" "$TMP/out"
check "no home" grep -q "^gone: failed" "$TMP/out"
check "said why" grep -q "^gone: dsyncfs-sync: the home directory '$TMP/home/gone' cannot be entered: No such file" "$TMP/err"
check_not "a broken Maildir" grep -q "^cyd: done" "$TMP/out"
check "said why, with the name" grep -q "^cyd: dsyncfs-sync: .*Maildir" "$TMP/err"
check "one that may not be read has to be run again" grep -q "^dan: done, run again" "$TMP/out"
check "said why, with the name" grep -q "^dan: dsyncfs-sync: .*denied" "$TMP/err"
equal "each line has a user's name" "" "$(grep -v '^[a-z@.]*: dsyncfs-sync: ' "$TMP/err")"
equal "the status is that of those that failed" 1 $rc
many -A --json backup "maildir:$TMP/far/%u/mail" >"$TMP/out" 2>/dev/null
check "--json: an object for each and one for all" python3 - "$TMP/out" <<'P'
import json, sys
e = [json.loads(l) for l in open(sys.argv[1])]
users = {x["user"]: x for x in e if x["event"] == "user"}
assert sorted(users) == ["ann", "bob", "cyd", "dan", "gone", "ro@x.org"], users
assert sum(x["event"] == "user" for x in e) == 6
assert users["ann"]["status"] == 0 and users["ann"]["outcome"] == "done" and users["ann"]["saved"] == 0, users["ann"]
assert users["gone"]["status"] == 1 and "saved" not in users["gone"], users["gone"]
assert all("user" in x for x in e[:-1])
s = e[-1]
assert s["event"] == "summary" and s["status"] == 1 and s["users"] == 6 and s["done"] == 3 and s["run_again"] == 1 and s["failed"] == 2, s
P
printf 'dan\nann\n' >"$TMP/again"
check "run again, when that is the worst" status 2 many -F "$TMP/again" backup "maildir:$TMP/far/%u/mail"
check "no peer for anybody" status 69 many -F "$TMP/three" mirror "$TMP/none.sh" %u
printf 'ann\nwho\ntoor\n' >"$TMP/strange"
many -F "$TMP/strange" backup "maildir:$TMP/far/%u/mail" >"$TMP/out" 2>"$TMP/err"
equal "not permitted is worse than unknown" 77 $?
check "who is not there" grep -q "^who: there is no such user" "$TMP/err"
check "who would be root" grep -q "^toor: this user has root's rights" "$TMP/err"
check "the others are served" grep -q "^ann: done" "$TMP/out"

# ---- what a far command sees ----

cat >"$TMP/far.sh" <<S
#!/bin/bash
# DIR NAME: notes who runs, then serves what is in DIR.
{
	id -u; id -g; id -G
	grep -E '^(Uid|Gid|Groups|CapEff|CapPrm):' /proc/self/status
	pwd; umask
	env | sort | grep -v '^\(_\|PWD\|OLDPWD\|SHLVL\|PATH\|LANG\|LC_.*\|TZ\|TMPDIR\)='
	ls /proc/self/fd | sort -n | xargs
} >"\$1/seen"
echo "words from \$2" >&2
printf 'half a line of %s' "\$2" >&2
printf ', and \033[31mits rest\n' >&2
exec "$SYNC" -o "mail_location=maildir:\$1/there" dsync-server
S
chmod 755 "$TMP/far.sh"
many -F "$TMP/three" mirror "$TMP/far.sh" "$TMP/far/%u" %n >"$TMP/out" 2>"$TMP/err"
equal "far commands: 0" 0 $?
equal "a line each" "$(printf '%s: done: 0 saved\n' ann bob ro@x.org)" "$(sort "$TMP/out" | cut -d, -f1 | sed 's/[0-9]* saved/0 saved/')"
seen=$TMP/far/ann/seen
equal "the user's rights, and all groups" "4001 4001 4001 4500" "$(head -3 "$seen" | xargs)"
equal "real, effective and saved" "Uid: 4001 4001 4001 4001 Gid: 4001 4001 4001 4001 Groups: 4001 4500" \
	"$(grep -E '^(Uid|Gid|Groups):' "$seen" | xargs)"
equal "no capabilities" "CapPrm: 0000000000000000 CapEff: 0000000000000000" "$(grep ^Cap "$seen" | xargs)"
equal "at home, with the user's environment only" "$(printf '%s\n' "$TMP/home/ann" 0077 "HOME=$TMP/home/ann" LOGNAME=ann SHELL=/bin/sh USER=ann)" \
	"$(sed -n '/^\//,/^USER/p' "$seen")"
equal "no descriptors but three, and ls's own" "0 1 2 3" "$(tail -1 "$seen")"
equal "bob has his" "4002 4002 4002" "$(head -3 "$TMP/far/bob/seen" | xargs)"
check "%n of a name with a domain" grep -q "^ro@x.org: .*: words from ro$" "$TMP/err"
equal "lines whole, each with its user's name, harmless" "$(printf '%s: half a line of %s, and ?[31mits rest\n' ann ann bob bob ro@x.org ro)" \
	"$(sed -n 's/: dsyncfs-sync: .*: half/: half/p' "$TMP/err" | sort)"
check "the mail got there" grep -rq "for bob" "$TMP/far/bob/there"
check "one word, too" many -F "$TMP/three" mirror "$TMP/far.sh $TMP/far/%u %d"
check "other variables are refused" says "must be followed by u, n, d, h or %" many -F "$TMP/three" mirror "$TMP/far.sh $TMP/far/%u %s"
check "as usage" status 64 many -F "$TMP/three" mirror "$TMP/far.sh $TMP/far/%u %s"
check "%h and the user's configuration" python3 - <<P
import os
for n, u in (("ann", 4001), ("bob", 4002), ("ro@x.org", 4005)):
    d = "$TMP/home/%s/.config/dsyncfs" % n
    os.makedirs(d)
    open(d + "/dsyncfs.conf", "w").write("mail_location = maildir:~/Maildir\nremote r {\n\tlocation = maildir:%h/copy-%n-%d\n}\n")
P
check "remote sections are each user's own" "$SYNC" -F "$TMP/three" mirror r
check "with %h, %n and %d" test -d "$TMP/home/ro@x.org/copy-ro-x.org" -a -d "$TMP/home/ann/copy-ann-"

# A hook has all of its process's environment, a far command not even that.
many -F "$TMP/self" -o mail_location=dsyncfs:%h/hooked -o 'post_sync_command=env >~/hook-env; id -u >>~/hook-env' mirror maildir:Maildir >"$TMP/out" 2>&1
check "post_sync_command runs as the user" grep -qx 4001 "$TMP/home/ann/hook-env"
check "with the user's environment" grep -qx "HOME=$TMP/home/ann" "$TMP/home/ann/hook-env"
check_not "and nothing else" grep -E "^(ROOTS_SECRET|MANY_USERS|XDG_)" "$TMP/home/ann/hook-env"

# ---- so many at a time ----

cat >"$TMP/count.sh" <<S
#!/bin/bash
# USER N: comes and goes by lines in one file; stays until N have come.
echo "+ \$1" >>"$TMP/far/count"
for i in \$(seq 600); do
	[ "\$(grep -c '^+' "$TMP/far/count")" -lt \$2 ] || break
	sleep 0.1
done
echo "- \$1" >>"$TMP/far/count"
exit 1
S
chmod 755 "$TMP/count.sh"
most() { awk '/^\+/ { n++; if (n > m) m = n } /^-/ { n-- } END { print m + 0 }' "$TMP/far/count"; }
printf 'ann\nbob\nro@x.org\n' >"$TMP/busy"
for n in 1 2 3; do
	: >"$TMP/far/count"
	chmod 666 "$TMP/far/count"
	many -o max_parallel=$n -F "$TMP/busy" mirror "$TMP/count.sh" %u $n >"$TMP/out" 2>/dev/null
	equal "$n at a time: a far side that is none: their status" 75 $?
	equal "$n at a time: all came" 3 "$(grep -c '^+' "$TMP/far/count")"
	equal "$n at a time, not more" $n "$(most)"
done

# ---- told to stop ----

cat >"$TMP/hang.sh" <<S
#!/bin/bash
echo "\$\$" >"$TMP/far/\$1/pid"
exec sleep 1000
S
chmod 755 "$TMP/hang.sh"
both_hang() { [ -s "$TMP/far/ann/pid" ] && [ -s "$TMP/far/bob/pid" ]; }
gone() { ! kill -0 "$1" 2>/dev/null; }
for signal in TERM INT; do
	rm -f "$TMP/far/ann/pid" "$TMP/far/bob/pid"
	# A shell has its background jobs ignore INT.
	python3 -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])' \
		"$SYNC" -c "$CONF" -F "$TMP/busy" mirror "$TMP/hang.sh" %u >"$TMP/out" 2>"$TMP/err" &
	pid=$!
	check "$signal: two run" wait_for both_hang
	kill -$signal $pid
	wait $pid
	equal "$signal: try again later" 75 $?
	equal "$signal: a line for each" "$(printf '%s\n' "ann: try again later" "bob: try again later" "ro@x.org: not begun")" \
		"$(sort "$TMP/out" | sed 's/: [0-9]* saved.*//')"
	check "$signal: the far commands have ended" wait_for gone "$(cat "$TMP/far/ann/pid")"
	check "$signal: both" wait_for gone "$(cat "$TMP/far/bob/pid")"
done
# A child that is killed is one user's failure.
rm -f "$TMP/far/ann/pid" "$TMP/far/bob/pid"
"$SYNC" -c "$CONF" -F "$TMP/busy" mirror "$TMP/hang.sh" %u >"$TMP/out" 2>"$TMP/err" 7<"$TMP/wrong" &
pid=$!
check "a child: two run" wait_for both_hang
child=$(pgrep -P $pid -u 4001)
check "the parent has a descriptor of its caller" test "$TMP/wrong" -ef "/proc/$pid/fd/7"
equal "a child has not, but only what is its user's" "" \
	"$(find "/proc/$child/fd" -type l ! -lname "$TMP/home/ann*" ! -lname '* (deleted)' ! -lname /dev/null ! -lname 'pipe:*' ! -lname 'socket:*' ! -lname 'anon_inode:*' -printf '%f %l\n')"
pipes_of() { find "/proc/$1/fd" -lname 'pipe:*' -printf '%l\n' | sort -u; }
equal "and no pipe of another's" "" "$(comm -12 <(pipes_of "$child") <(pipes_of "$(pgrep -P $pid -u 4002)"))"
equal "its standard input is empty" /dev/null "$(readlink "/proc/$child/fd/0")"
equal "a session of its own: no terminal" "$child" "$(ps -o sid= -p "$child" | tr -d ' ')"
equal "its rights are the user's" "4001 4001 4001 4001 4001 4001 4001 4001" "$(sed -n 's/^[UG]id://p' "/proc/$child/status" | xargs)"
kill -KILL "$child"
killed() { [ "$(cat "$TMP/out")" = "ann: killed by signal 9" ]; }
check "a child that is killed has its line at once" wait_for killed
check "bob goes on" kill -0 "$(cat "$TMP/far/bob/pid")"
kill -TERM $pid
wait $pid
equal "the worst status is that of the killed" 1 $?
equal "and a line for each" "ann bob ro@x.org" "$(cut -d: -f1 "$TMP/out" | sort | xargs)"
# A parent that is killed takes them along.
rm -f "$TMP/far/ann/pid" "$TMP/far/bob/pid"
"$SYNC" -c "$CONF" -F "$TMP/busy" mirror "$TMP/hang.sh" %u >"$TMP/out" 2>"$TMP/err" &
pid=$!
check "KILL: two run" wait_for both_hang
kill -KILL $pid
wait $pid 2>/dev/null
check "KILL: the far commands end all the same" wait_for gone "$(cat "$TMP/far/ann/pid")"
check "KILL: both" wait_for gone "$(cat "$TMP/far/bob/pid")"

# ---- an ordinary user, for himself ----

ann() { setpriv --reuid=4001 --regid=4001 --clear-groups env HOME="$TMP/home/ann" USER=ann "$@"; }
check "one may act for oneself" says "ann: done" ann "$SYNC" -F "$TMP/self" mirror maildir:copy
check "below one's home" test -d "$TMP/home/ann/copy/cur"
check "not for oneself and another" status 77 ann "$SYNC" -F "$TMP/three" mirror maildir:copy

# ---- as a service runs, without a home and a configuration ----

rm -r "${TMP:?}/home/ann/.config" "${TMP:?}/home/bob/.config"
check "no HOME" env -u HOME -u XDG_CONFIG_HOME -u XDG_DATA_HOME "$SYNC" -F "$TMP/self" -o mail_location=maildir:%h/Maildir mirror dsyncfs:%h/kept-%u
check_status "the parent's directory must be there" 1 env -u HOME -u XDG_CONFIG_HOME -u XDG_DATA_HOME "$SYNC" -F "$TMP/self" mirror maildir:no/such/place
check "the user's default store" env -u HOME -u XDG_CONFIG_HOME -u XDG_DATA_HOME "$SYNC" -F "$TMP/self" mirror maildir:from-default
check "is below the user's home" test -d "$TMP/home/ann/.local/share/dsyncfs" -a -d "$TMP/home/ann/from-default"

# ---- where a user's mount has the store ----

# A device node that all may open, as most systems have.
mknod -m 666 "$TMP/fuse" c 10 229
mount --bind "$TMP/fuse" /dev/fuse
H=$TMP/home/ann
ann mkdir "$H/mnt"
check "ann mounts a store" ann "$MOUNT" "dsyncfs:$H/store" "$H/mnt"
ann sh -c 'printf "Subject: mounted\n\nhello\n" >"$1/tmp/1.x" && mv "$1/tmp/1.x" "$1/new/1.x"' _ "$H/mnt"
printf 'ann\nbob\n' >"$TMP/pair"
many -o 'mail_location=dsyncfs:~/store' -F "$TMP/pair" backup maildir:%h/from-store >"$TMP/out" 2>"$TMP/err"
check "her mount does it, and tells the counts" grep -q "^ann: done: 1 saved" "$TMP/out"
equal "nothing else is on standard output" "ann bob" "$(cut -d: -f1 "$TMP/out" | sort | xargs)"
check "the mail is there" grep -rq "^hello" "$H/from-store"
many --json -o 'mail_location=dsyncfs:~/store' -F "$TMP/self" backup maildir:%h/from-store2 >"$TMP/out" 2>"$TMP/err"
check "with --json, too" grep -q '^{"event":"user","user":"ann","status":0,"outcome":"done",.*"saved":1,' "$TMP/out"
equal "each object of hers says so" "" "$(grep -v '"user":"ann"\|"event":"summary"' "$TMP/out")"
ann fusermount3 -u "$H/mnt"
not_mounted() { ! mountpoint -q "$H/mnt"; }
check "unmounted" wait_for not_mounted
finish
