#!/bin/bash
# bench_push -- how long a change takes from one mount to the other: with sync = push, to the far side and from it, and with
# sync = 1; each pair of mounts over a real sshd, all in one run, in turns.  Ratios are to the interval, medians of the rounds' ratios.
#
#	bench_push.sh [BIN]		BIN: the build's directory
#
# BENCH_SHORT=1: few rounds, to see that it runs.  BENCH_ROUNDS changes them.  Nothing fails by time; a mail that does not come does.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/../sshd.sh"
MOUNT=$BIN/dsyncfs
needs sshd ssh-keygen python3
rounds=${BENCH_ROUNDS:-40}
[ -z "${BENCH_SHORT:-}" ] || rounds=3
K=$TMP/keys
mkdir -p "$K"
unset SSH_AUTH_SOCK SSH_ASKPASS DISPLAY
must ssh-keygen -q -t ed25519 -N '' -f "$K/host_ed25519"
must ssh-keygen -q -t ed25519 -N '' -f "$K/id_ed25519"
cp "$K/id_ed25519.pub" "$TMP/authorized_keys"
host_up far ed25519
echo "[127.0.0.1]:${port[far]} $(cut -d' ' -f1,2 "$K/host_ed25519.pub")" >"$TMP/known_hosts"
cat >"$TMP/ssh_config" <<-C
	Host far
	HostName 127.0.0.1
	Port ${port[far]}
	User $(id -un)
	IdentitiesOnly yes
	IdentityFile $K/id_ed25519
	UserKnownHostsFile $TMP/known_hosts
C
# ssh(1) reads the configuration of whom the password file says.
script ssh <<-C
	#!/bin/sh
	exec $(command -v ssh) -F $TMP/ssh_config "\$@"
C
PATH=$TMP/bin:$PATH

# KIND SYNC: a pair of mounts, $TMP/KIND.here and $TMP/KIND.there
pair() {
	cat >"$TMP/$1.conf" <<-C
		mail_location = dsyncfs:$TMP/$1.near
		dsync_remote_cmd = env HOME=$HOME $SYNC -o mail_location=dsyncfs:$TMP/$1.far dsync-server
		remote = far
		sync = $2
	C
	mkdir -p "$TMP/$1.here"
	must mount_store "$TMP/$1.far" "$TMP/$1.there"
	must "$MOUNT" -c "$TMP/$1.conf" "$TMP/$1.here"
	on_exit "fusermount3 -uq $TMP/$1.here; fusermount3 -uq $TMP/$1.there"
}
pair push push
pair interval 1
python3 - "$TMP" "$rounds" >"$COSTS" <<'P' || { echo "FAIL: a mail did not come"; exit 1; }
import os, random, sys, time
tmp, rounds = sys.argv[1], int(sys.argv[2])
rnd = random.Random(1)

def change(kind, source, target, name):
    data = b"Subject: %s\n\nx\n" % name.encode()
    with open(f"{tmp}/{kind}.{source}/tmp/{name}", "wb") as f:
        f.write(data)
    begin = time.monotonic()
    os.rename(f"{tmp}/{kind}.{source}/tmp/{name}", f"{tmp}/{kind}.{source}/new/{name}")
    while not os.path.exists(f"{tmp}/{kind}.{target}/new/{name}"):
        if time.monotonic() - begin > 120:
            sys.exit(1)
        time.sleep(0.002)
    return time.monotonic() - begin

def round_(i):
    ways = [("push", "here", "there"), ("push", "there", "here"), ("interval", "here", "there"), ("interval", "there", "here")]
    rnd.shuffle(ways)
    got = {}
    for kind, source, target in ways:
        got[kind, source] = change(kind, source, target, f"17000000{i:03}.M{source}.{kind}")
        time.sleep(rnd.uniform(1, 2))
    return got

round_(999)
for i in range(rounds):
    g = round_(i)
    print(*(g[k] for k in (("push", "here"), ("push", "there"), ("interval", "here"), ("interval", "there"))))
P
awk "$UNITS"'
{ for (k = 1; k <= 4; k++) t[k, NR] = $k; r[1, NR] = $1 / $3; r[2, NR] = $2 / $4 }
function of(v, k,	i, w) { for (i = 1; i <= NR; i++) w[i] = v[k, i]; return median(w, NR) }
END {
	printf "%-22s %12s %12s %8s\n", "a change", "push", "every 1 s", "ratio"
	printf "%-22s %12s %12s %8.2f\n", "from here to there", time(of(t, 1)), time(of(t, 3)), of(r, 1)
	printf "%-22s %12s %12s %8.2f\n", "from there to here", time(of(t, 2)), time(of(t, 4)), of(r, 2)
}' "$COSTS"
