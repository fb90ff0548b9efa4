#!/bin/bash
# completion -- what bash, zsh and fish offer for both programs is what these know: every command of --help, every option that a
# command takes and no other, the remotes of the configuration, the keys and words that options take.
. "$(dirname "$0")/../real.sh"
needs zsh fish
mkdir -p "$TMP/bin" "$XDG_CONFIG_HOME/dsyncfs"
ln -s "$SYNC" "$MOUNT" "$TMP/bin/"
export PATH=$TMP/bin:$PATH
COMPLETION=$ROOT/contrib/completion
cat >"$XDG_CONFIG_HOME/dsyncfs/dsyncfs.conf" <<-C
	remote laptop {
	location = maildir:/laptop
	}
	  remote disk-2   {
	location = maildir:/disk
	}
C
printf 'remote other {\nlocation = maildir:/other\n}\n' >"$TMP/other.conf"
check "the configuration is one" "$SYNC" check-config --no-connect
check "the other too" "$SYNC" check-config --no-connect "$TMP/other.conf"

# What each shell offers for lines: "> LINE", then an offer a line.
offers_bash() {
	bash --norc -c '
		source "$1/dsyncfs-sync.bash" && source "$1/dsyncfs.bash" || exit
		for line in "${@:2}"; do
			echo "> $line"
			# Readline parts words also at = and :.
			read -ra COMP_WORDS <<<"$(sed "s/[=:]/ & /g" <<<"$line")"
			case $line in *" ") COMP_WORDS+=("") ;; esac
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
			case ${COMP_WORDS[0]} in dsyncfs) _dsyncfs ;; *) _dsyncfs_sync ;; esac
			printf "%s\n" "${COMPREPLY[@]}"
		done' _ "$COMPLETION" "$@"
}
offers_zsh() { zsh -f "$ROOT/tests/interop/completion_zsh.zsh" "$COMPLETION" "$@"; }
offers_fish() {
	fish --no-config -c '
		for f in $argv[1]/*.fish
			source $f
		end
		for line in $argv[2..-1]
			echo "> $line"
			complete -C$line | string replace -r "\t.*" ""
		end' "$COMPLETION" "$@"
}
of() { awk -v l="> $1" '/^> / { on = $0 == l; next } on && NF' "$2" | sort -u; }

# ---- what the programs know ----

commands=$("$SYNC" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')
longs=$(grep -oE '"[a-z-]+", (true|false)' "$ROOT/engine/cmd/options.c" | sed 's/^"/--/; s/".*//')
check "there are commands" test "$(wc -l <<<"$commands")" -ge 14
check "and options" test "$(wc -l <<<"$longs")" -ge 38
# With -h nothing is run, but all is read.
takes() {	# COMMAND OPTION
	local text
	text=$("$SYNC" -h "$1" "$2" 2>&1 >/dev/null)
	case $text in *"needs a value") text=$("$SYNC" -h "$1" "$2" x 2>&1 >/dev/null) ;; esac
	case $text in *"is not known"* | *"is not for"* | *"is not supported"*) return 1 ;; esac
}
for c in $commands; do
	echo "> dsyncfs-sync $c -"
	for o in -{{a..z},{A..Z},{0..9}} $longs; do ! takes "$c" "$o" || printf '%s\n' "$o"; done
done >"$TMP/known"
check "a command takes what --help says of all" eval 'for o in -c -o -u -v -D -l --help --version; do of "dsyncfs-sync log -" "$TMP/known" | grep -qx -e $o || exit 1; done'
check_not "and not what is another's" eval 'of "dsyncfs-sync log -" "$TMP/known" | grep -qx -e --rebuild'

sync_lines=()
for c in $commands; do sync_lines+=("dsyncfs-sync $c -"); done
usage=$("$MOUNT" -h)
mount_letters=$(grep -oE '(^|[[ ])-[a-zA-Z]\b' <<<"$usage" | grep -oE -e '-[a-zA-Z]' | sort -u)
mount_words=$(sed -n '/-o OPT /,/and what/p' <<<"$usage" | grep -oE '\b[a-z_]+=|\bro\b|\ballow_other\b' | tr -d = | sort -u)
check "the mount's usage has letters" test "$(wc -w <<<"$mount_letters")" -ge 5
check "and words of -o" test "$(wc -w <<<"$mount_words")" -ge 10

for shell in bash zsh fish; do
	offers_$shell "${sync_lines[@]}" "dsyncfs-sync " "dsyncfs-sync mi" "dsyncfs-sync mirror " "dsyncfs-sync backup l" \
		"dsyncfs-sync -c $TMP/other.conf mirror " "dsyncfs-sync --progress " "dsyncfs-sync mirror --progress=a" "dsyncfs-sync -o " \
		"dsyncfs-sync mirror --dry-" "dsyncfs -" "dsyncfs -o " >"$TMP/$shell" 2>"$TMP/$shell.err"
	equal "$shell: nothing goes wrong" "" "$(cat "$TMP/$shell.err")"
	equal "$shell: the commands" "$(sort <<<"$commands")" "$(of "dsyncfs-sync " "$TMP/$shell")"
	equal "$shell: a command that is begun" mirror "$(of "dsyncfs-sync mi" "$TMP/$shell")"
	for c in $commands; do
		equal "$shell: the options of $c" "$(of "dsyncfs-sync $c -" "$TMP/known")" "$(of "dsyncfs-sync $c -" "$TMP/$shell")"
	done
	check "$shell: a remote that is begun" grep -qx laptop <(of "dsyncfs-sync backup l" "$TMP/$shell")
	check_not "$shell: and not the others" grep -qx disk-2 <(of "dsyncfs-sync backup l" "$TMP/$shell")
	for r in laptop disk-2 maildir: dsyncfs:; do
		check "$shell: mirror with $r" grep -qx -e "$r" <(of "dsyncfs-sync mirror " "$TMP/$shell")
	done
	check "$shell: the remotes of another file" grep -qx other <(of "dsyncfs-sync -c $TMP/other.conf mirror " "$TMP/$shell")
	check_not "$shell: and only those" grep -qx laptop <(of "dsyncfs-sync -c $TMP/other.conf mirror " "$TMP/$shell")
	equal "$shell: when to show progress" "always auto never" "$(of "dsyncfs-sync --progress " "$TMP/$shell" | xargs)"
	equal "$shell: behind an equals sign" "always auto" "$(of "dsyncfs-sync mirror --progress=a" "$TMP/$shell" | sed 's/.*=//' | xargs)"
	equal "$shell: an option that is begun" --dry-run "$(of "dsyncfs-sync mirror --dry-" "$TMP/$shell")"
	equal "$shell: the keys" "$("$SYNC" init-config - | sed -n 's/^#\([a-z_]*\) = .*/\1/p' | sort)" "$(of "dsyncfs-sync -o " "$TMP/$shell" | tr -d =)"
	equal "$shell: the mount's options, and its version" "$(printf '%s\n' $mount_letters -h -V | sort -u)" "$(of "dsyncfs -" "$TMP/$shell")"
	equal "$shell: the words of its -o" "$mount_words" "$(of "dsyncfs -o " "$TMP/$shell" | sed 's/=.*//' | sort -u)"
done
finish
