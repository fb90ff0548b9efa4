#!/bin/bash
# sandbox_ssh -- a sync over ssh: closed once the host is reached, and neither the passphrase of the key nor the key are left in it.  Who
# is not root sees that nobody can look into it, whose user it may be.
. "$(dirname "$0")/../sandbox.sh"
needs gdb gcore python3 sshd ssh ssh-keygen
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
SECRET='xyzzy-plugh-4711'
echo "$SECRET" >"$TMP/secret"
chmod 600 "$TMP/secret"
. "$ROOT/tests/sshd.sh"
unset SSH_AUTH_SOCK SSH_ASKPASS DISPLAY
K=$TMP/keys
mkdir "$K" "$TMP/path"
ssh-keygen -q -t ed25519 -N '' -f "$K/host_ed25519"
ssh-keygen -q -t ed25519 -N "$SECRET" -f "$K/id"
cp "$K/id.pub" "$TMP/authorized_keys"
host_up main ed25519
echo "[127.0.0.1]:${port[main]} $(cut -d' ' -f1,2 "$K/host_ed25519.pub")" >"$TMP/known_hosts"
cat >"$TMP/ssh_config" <<C
Host there
HostName 127.0.0.1
Port ${port[main]}
User $(id -un)
IdentitiesOnly yes
IdentityFile $K/id
UserKnownHostsFile $TMP/known_hosts
GlobalKnownHostsFile none
C
# ssh(1) reads the configuration of whom the password file says; so the ssh that is found here has one of ours.
printf '#!/bin/sh\nexec %s -F %s "$@"\n' "$(command -v ssh)" "$TMP/ssh_config" >"$TMP/path/ssh"
chmod +x "$TMP/path/ssh"
rm -f "$TMP/go"
mail "$MD" 3
near mirror "maildir:$MD" >/dev/null
PATH=$TMP/path:$PATH "${near[@]}" -D -o "ssh_passphrase_command=cat $TMP/secret" -o "dsync_remote_cmd=$TMP/held" mirror there >"$TMP/out" 2>&1 &
pid=$!
check "an ssh host, by a key with a passphrase: closed" wait_for is_closed $pid
check "by libssh2" grep -q 'logged in as' "$TMP/out"
if [ "$(id -u)" = 0 ]; then
	check "it has neither passphrase nor key" unknown $pid "$SECRET" "$(sed -n 3p "$K/id")"
	SILENT=1 check "nothing gets out of it" break_out $pid "$STORE"
else
	check_not "nobody gets a core of it" gcore -o "$TMP/core" $pid
	check_not "or sees its environment" cat /proc/$pid/environ
fi
: >"$TMP/go"
ended "the sync goes on" $pid
same "both have the same afterwards"
check_not "nothing said it" grep -qF "$SECRET" "$TMP/out"
finish
