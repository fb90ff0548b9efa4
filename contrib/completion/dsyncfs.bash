# dsyncfs.bash -- completion of dsyncfs for bash.
# tests/interop/completion.sh holds it to what the program knows.

_dsyncfs() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev='' given
	local words='layout=maildir++ layout=fs remote= sync=manual sync=push sync= commit= stale_names= ro allow_other uid= gid= umask= setuid='
	[ "$COMP_CWORD" -lt 1 ] || prev=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	if [ "$cur" = : ] || [ "$prev" = : ]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "${cur#:}")
		return
	fi
	# KEY=VALUE comes as three words.
	if [ "$cur" = = ] || [ "$prev" = = ]; then
		[ "$cur" != = ] || prev=$cur cur=
		given=${COMP_WORDS[COMP_CWORD - 2]}
		[ "${COMP_WORDS[COMP_CWORD]}" != = ] || given=${COMP_WORDS[COMP_CWORD - 1]}
		case ${given##*,} in
		layout) mapfile -t COMPREPLY < <(compgen -W 'maildir++ fs' -- "$cur") ;;
		sync) mapfile -t COMPREPLY < <(compgen -W 'manual push' -- "$cur") ;;
		esac
		return
	fi
	case $prev in
	-c)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return ;;
	-u)
		mapfile -t COMPREPLY < <(compgen -u -- "$cur")
		return ;;
	-o)
		compopt -o nospace 2>/dev/null
		given=
		case $cur in *,*) given=${cur%,*}, ;; esac
		mapfile -t COMPREPLY < <(compgen -P "$given" -W "$words" -- "${cur##*,}")
		return ;;
	esac
	case $cur in
	-*)
		mapfile -t COMPREPLY < <(compgen -W '-f -d -c -u -o -h -V' -- "$cur") ;;
	*)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
	esac
}
complete -F _dsyncfs dsyncfs
