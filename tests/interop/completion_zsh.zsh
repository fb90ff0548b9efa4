# completion_zsh.zsh -- what zsh offers where TAB is pressed, a line each:
#
#	zsh -f completion_zsh.zsh DIRECTORY LINE...
#
# DIRECTORY has the functions.  Before the offers of each LINE stands "> LINE".
# A zsh on a terminal of its own reads this file too, with OUT set: there
# compadd, through which all offers go, is a function that notes them.
if (( ${+OUT} )); then
	PROMPT=
	fpath=($FUNCTIONS $fpath)
	autoload -Uz compinit
	compinit -u -D
	zstyle ':completion:*' completer _complete
	compadd() {
		local -a found
		local word
		for word; do
			[[ $word != (-|--) ]] || break
			[[ $word != -[OAD] ]] || { builtin compadd "$@"; return }
		done
		builtin compadd -O found "$@"
		(( ! $#found )) || print -rl -- $found >>$OUT
		return $(( $#found == 0 ))
	}
	end_of_offers() { print . >>$OUT; compstate[insert]= compstate[list]= }
	offers() {
		BUFFER=$LINE CURSOR=$#LINE comppostfuncs=(end_of_offers)
		zle complete-word
		BUFFER=
	}
	zle -C complete-word complete-word _main_complete
	zle -N offers
	bindkey '^I' offers
	return
fi
zmodload zsh/zpty
out=$(mktemp)
trap 'rm -f $out' EXIT
zpty z env OUT=$out FUNCTIONS=$1 zsh -f -i
zpty -w z "source ${(q)ZSH_ARGZERO}"
shift
for line; do
	print -r -- "> $line"
	: >$out
	zpty -w z "LINE=${(q)line}"
	zpty -w -n z $'\t'
	n=0
	until [[ "$(tail -n 1 $out)" == . ]]; do
		while zpty -rt z shown; do :; done	# or it would wait for a reader
		(( n++ < 600 )) || { print "no answer"; exit 1 }
		sleep 0.05
	done
	grep -vx '\.' $out
done
zpty -d z
