# lib -- what ../lib.sh does besides when FLAVOUR is asan, tsan or valgrind: whatever these report fails the test.  Sourced.
#
# $BIN has a program for each of $BUILT that runs it with the options that it needs, so that one that begins with an empty environment,
# or is started by an sshd, has them, too.  Reports go to files in $REPORTS, of a process that nobody waits for as well; when all has ended
# they are printed, and the script fails.
#
#	sanitized_program FILE PROGRAM	makes FILE such a program
#	reports				prints what was reported; succeeds when there is something
#
# A program may be given more options in the usual variables.  strace, which LeakSanitizer does not work under, and which would count the
# calls of a shell, runs what was built.
BUILT=$BIN
BIN=$TMP/sanitize/programs
SYNC=$BIN/dsyncfs-sync
MOUNT=$BIN/dsyncfs
SLOWNESS=4
MOUNT_RUNS=$MOUNT
[ "$FLAVOUR" != valgrind ] || MOUNT_RUNS="/usr/[^ ]*valgrind[^ ]* .* $BUILT/dsyncfs"
REPORTS=$TMP/sanitize/reports
export ASAN_OPTIONS TSAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS

# VARIABLE OPTIONS: what the caller has in it goes before that, but not before where reports go
sanitized_options() { printf '%s=%q${%s:+:$%s}%q\n' "$1" "$2" "$1" "$1" ":exitcode=99:log_path=$REPORTS/$FLAVOUR:log_exe_name=0:print_suppressions=0"; }
sanitized_environment() {
	sanitized_options ASAN_OPTIONS abort_on_error=0:detect_leaks=1:detect_stack_use_after_return=1
	sanitized_options UBSAN_OPTIONS print_stacktrace=1:halt_on_error=1
	sanitized_options LSAN_OPTIONS "suppressions=$ROOT/tests/sanitize/lsan.supp"
	sanitized_options TSAN_OPTIONS "history_size=4:second_deadlock_stack=1"
	echo export ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS TSAN_OPTIONS
}
sanitized_program() {
	{
		echo '#!/bin/bash'
		if [ "$FLAVOUR" = valgrind ]; then
			printf 'exec valgrind -q --vgdb=no --log-file=%q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \\\n' \
				"$REPORTS/valgrind.%p"
			printf '\t--num-callers=30 %q "$@"\n' "$2"
		else
			sanitized_environment
			printf 'exec -a "$0" %q "$@"\n' "$2"
		fi
	} >"$1"
	chmod 755 "$1"
}
# What valgrind says between -- is about itself: a system call that it does not know is answered with ENOSYS.
reports() {
	local f text found=1
	for f in "$REPORTS"/*; do
		text=$(grep -sv '^--[0-9]*-- ' "$f") || continue
		found=0
		printf '%s:\n%s\n' "${f##*/}" "$text"
	done
	return $found
}
strace_program() {
	cat <<-S
		#!/bin/bash
		export ASAN_OPTIONS=\${ASAN_OPTIONS:+\$ASAN_OPTIONS:}detect_leaks=0
		from=$BIN/ to=$BUILT/
		exec $(command -v strace) "\${@/#"\$from"/\$to}"
	S
}
none_runs() { ! pgrep -f "^($BIN/|/usr/[^ ]*valgrind[^ ]* .*--log-file=$REPORTS/)" >/dev/null; }

# At the end, when the mounts are gone and the servers are killed.
sanitized_end() {
	local text
	wait_for none_runs
	text=$(reports) || { echo "ok $FLAVOUR reports nothing"; return 0; }
	printf '%s\n' "FAIL $FLAVOUR reports" "$text" | head -200
	return 1
}

mkdir -p "$BIN/tests/interop" "$REPORTS"
chmod 1777 "$REPORTS"
for p in dsyncfs dsyncfs-sync $(cd "$BUILT" && find tests/interop -type f -executable 2>/dev/null); do
	case $p in
	*.so) ln -s "$BUILT/$p" "$BIN/$p" ;;
	*) sanitized_program "$BIN/$p" "$BUILT/$p" ;;
	esac
done
eval "$(sanitized_environment)"
if [ "$FLAVOUR" != valgrind ]; then
	mkdir "$TMP/sanitize/path"
	strace_program >"$TMP/sanitize/path/strace"
	chmod 755 "$TMP/sanitize/path/strace"
	PATH=$TMP/sanitize/path:$PATH
fi
