# dsyncfs-sync.bash -- completion of dsyncfs-sync for bash.
# tests/interop/completion.sh holds it to what the program knows.

# The commands are those that --help lists.
_dsyncfs_sync_commands() {
	"${1:-dsyncfs-sync}" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p'
}

# The options of a command; without one, all that there are.
_dsyncfs_sync_options() {
	local json=--json
	local syncs='-C --alt-char -f --full -m --mailbox -g --guid -x --exclude -t --since -e --until -O --flag -I --max-size
		--max-delete --no-max-delete --dry-run -r --rawlog'
	local many='-A --all-users -F --user-file'
	echo '-c --config -u --user -o --override -D --debug -v --verbose -l --lock-timeout -T --timeout --progress -h --help -V --version'
	case ${1:-} in
	mirror) echo "$syncs $many -1 --one-way -s --state" ;;
	backup) echo "$syncs $many -R --reverse -s --state" ;;
	flush) echo "$syncs --wait" ;;
	dump) json='' ; echo '--no-modseqs' ;;
	log) echo '--follow --from --cursor' ;;
	restore) echo '--list -g --guid --uid -t --since --sync' ;;
	verify) echo '--rebuild --repair --dry-run' ;;
	dsync-server) json='' ; echo '-r --rawlog -U --no-userdb-lookup' ;;
	init-config) json='' ;;
	check-config) json='' ; echo '--no-connect' ;;
	'') echo "$syncs $many -1 --one-way -s --state -R --reverse --wait --no-modseqs --follow --from --cursor
		--list --uid --sync --rebuild --repair --no-connect -U --no-userdb-lookup" ;;
	esac
	echo "$json"
}

# The remote sections of the configuration: of the file $1, or where the programs look for it.
_dsyncfs_sync_remotes() {
	local f=${1:-} dir=${XDG_CONFIG_HOME:-}
	case $dir in /*) ;; *) dir=${HOME:-}/.config ;; esac
	[ -n "$f" ] || f=$dir/dsyncfs/dsyncfs.conf
	[ -n "${1:-}" ] || [ -e "$f" ] || f=/etc/dsyncfs/dsyncfs.conf
	sed -n 's/^[[:space:]]*remote[[:space:]]\{1,\}\([^[:space:]{]\{1,\}\)[[:space:]]*{.*/\1/p' "$f" 2>/dev/null | tr -d \"\'
}

_dsyncfs_sync_keys() {
	"${1:-dsyncfs-sync}" init-config - 2>/dev/null | sed -n 's/^#\([a-z_]*\) = .*/\1=/p'
}

_dsyncfs_sync() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev='' command='' config='' commands w i
	[ "$COMP_CWORD" -lt 1 ] || prev=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	commands=$(_dsyncfs_sync_commands "${COMP_WORDS[0]}")
	for ((i = 1; i < COMP_CWORD; i++)); do
		w=${COMP_WORDS[i]}
		case $w in
		-c | --config) config=${COMP_WORDS[i + 1]} ;;
		esac
		[ -n "$command" ] || ! grep -qxF -e "$w" <<<"$commands" || command=$w
	done
	# --option=value comes as three words, driver:path too.
	[ "$cur" != = ] || cur=
	[ "$prev" != = ] || prev=${COMP_WORDS[COMP_CWORD - 2]}
	if [ "$cur" = : ] || [ "$prev" = : ]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "${cur#:}")
		return
	fi
	case $prev in
	-c | --config | -r | --rawlog | -F | --user-file)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return ;;
	-u | --user)
		mapfile -t COMPREPLY < <(compgen -u -- "$cur")
		return ;;
	-o | --override)
		compopt -o nospace 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -W "$(_dsyncfs_sync_keys "${COMP_WORDS[0]}")" -- "$cur")
		return ;;
	--progress)
		mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$cur")
		return ;;
	-O | --flag)
		mapfile -t COMPREPLY < <(compgen -W '\\Seen \\Answered \\Flagged \\Draft -\\Seen -\\Answered -\\Flagged -\\Draft' -- "$cur")
		return ;;
	-l | --lock-timeout | -T | --timeout | -C | --alt-char | -m | --mailbox | -g | --guid | -x | --exclude | \
		-t | --since | -e | --until | -I | --max-size | --max-delete | -s | --state | --from | --uid)
		return ;;
	esac
	case $cur in
	-*)
		mapfile -t COMPREPLY < <(compgen -W "$(_dsyncfs_sync_options "$command")" -- "$cur")
		return ;;
	esac
	case $command in
	'')
		mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur") ;;
	mirror | backup | verify | dump)
		compopt -o nospace 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -W "$(_dsyncfs_sync_remotes "$config") maildir: dsyncfs: tcp: tcps:" -- "$cur") ;;
	init-config | check-config)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	esac
}
complete -F _dsyncfs_sync dsyncfs-sync
