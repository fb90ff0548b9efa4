#!/bin/bash
# git -- a repository among the mount's other files and one of the mail folder itself: what git says and what it has are the same as in a
# plain Maildir.
. "$(dirname "$0")/../real.sh"
needs git python3
export GIT_CONFIG_GLOBAL=$TMP/gitconfig GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_DATE="2026-03-01 12:00:00 +0000" GIT_COMMITTER_DATE="2026-03-01 12:00:00 +0000"
git config --global user.name Ann
git config --global user.email ann@example.org
git config --global init.defaultBranch main
git config --global safe.directory '*'
git config --global gc.auto 0

# A tree with sub-directories, empty files, links, modes and 300 files.
work_tree() {
	local i
	mkdir -p a/b/c new/cur tmp
	for ((i = 0; i < 300; i++)); do echo "line $i" >"a/b/$i"; done
	: >empty
	ln -s a/b/7 link
	printf '#!/bin/sh\n' >run && chmod 755 run
	$MAIL show 11 >large
	echo 'not mail' >new/cur/x
}

repository() {
	mkdir -p "$1" && cd "$1" || return 1
	git init -q && work_tree && git add -A && git commit -qm one &&
	git status --porcelain && git log --format='%H %s' &&
	git checkout -qb side && git mv a/b a/moved && echo more >>empty && chmod 644 run && git commit -qam two && git diff --stat HEAD~ | tail -1 &&
	git checkout -q main && echo main >main && git rm -q link && git add -A && git commit -qm three && git merge -q --no-edit side &&
	git status --porcelain && git log --format='%H %s' --graph && git ls-files -s | sha1sum &&
	git stash -q 2>&1; echo dirty >>large && git stash -q && git stash pop -q && git status --porcelain && git checkout -q large &&
	git tag new && git branch cur && git worktree add -q "../$(basename "$1")-tree" cur && git worktree list --porcelain | grep -c ^worktree &&
	git worktree remove "../$(basename "$1")-tree" && git bisect reset 2>&1 | head -1
	git repack -qad && git gc -q --prune=now && git fsck --full --strict && git count-objects -v | grep -E '^(count|in-pack|packs|garbage)'
	git status --porcelain && git for-each-ref && git clone -q . "../$(basename "$1")-clone" && git -C "../$(basename "$1")-clone" log --format=%H | sha1sum
	git clean -qdffx && git checkout -q side && git checkout -q main && find . -path ./.git -prune -o -type f -printf '%m %p\n' | sort | sha1sum
	cd / || return 1
}

# The mail itself under git, as some keep a history of it.
mail_in_git() {
	cd "$MNT" || return 1
	printf '%s\n' '/tmp/' '/.*/tmp/' '/Projects/' '/dovecot-keywords' '/subscriptions' >.gitignore
	git init -q && git add -A && git commit -qm mail && git status --porcelain && git ls-files | wc -l
	mv "cur/1000000001.M1.one:2,S" "cur/1000000001.M1.one:2,FS" && rm "cur/1000000002.M2.two:2," && $MAIL one three >tmp/x && mv tmp/x new/1000000003.M3.three
	git add -A && git status --porcelain && git commit -qm later
	# Back to the first state: git removes and writes files of mail.
	git checkout -q HEAD~ && git status --porcelain && find cur new .Work/cur .Work/new -type f | sort && git checkout -q main && git status --porcelain
	git gc -q --prune=now && git fsck --full && find cur new .Work/cur .Work/new -type f -exec sha1sum {} + | sort
	cd / || return 1
}

all() {
	mkdir "$MNT/Projects"
	note aux-space repository "$MNT/Projects/one"
	check "fsck of the clone" git -C "$MNT/Projects/one-clone" fsck --full
	maildir_new "$MNT/.Work"
	check "the clone" grep -qx main <(git -C "$MNT/Projects/one-clone" branch --format='%(refname:short)')
	note folder repository "$MNT/.Work/repo"
	$MAIL one one >"$MNT/tmp/1" && mv "$MNT/tmp/1" "$MNT/cur/1000000001.M1.one:2,S"
	$MAIL one two >"$MNT/tmp/2" && mv "$MNT/tmp/2" "$MNT/cur/1000000002.M2.two:2,"
	# git removes a directory that gets empty; the root's own stay on the mount (EBUSY).
	deliver_one "$MNT" 1000000004.M4.stays stays
	for i in 1 2 9 10; do $MAIL show $i >"$MNT/.Work/tmp/$i" && mv "$MNT/.Work/tmp/$i" "$MNT/.Work/new/100000001$i.M$i.work"; done
	rm -rf "$MNT/.Work/"repo*
	note root mail_in_git
	note mail state
	check "git got through" eval '! grep -h "^fatal\|^error" "$NOTES/$SIDE/"*'
	if mounted; then
		check "no part of a repository is a mailbox" eval '[ "$(ds mailboxes | cut -f1 | cut -d" " -f1 | sort | xargs)" = "INBOX Work" ]'
		# What git wrote in place has settled: it is mail.
		check "all mail is logged" within 10 eval '[ "$(ds dump | grep -c sha1=)" = "$(find "$MNT/cur" "$MNT/new" "$MNT/.Work/cur" "$MNT/.Work/new" -type f | wc -l)" ]'
	fi
}
on_both all
finish
