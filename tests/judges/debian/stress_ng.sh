#!/bin/bash
# stress_ng -- the file system stressors of stress-ng, each with its own verification of what it does: as many operations as are said
# here, two seconds at most.
. "$(dirname "$0")/../lib.sh"
needs stress-ng
# Name, operations, further options.  What FUSE has not (FIEMAP, FS_IOC_*) is not among them: stress-ng passes over it.
stressors() {
	cat <<-S
	access 50
	chdir 1
	chmod 50
	chown 50
	copy-file 20
	dentry 400 --dentries 200
	dir 50
	dirdeep 50
	dirmany 50
	dnotify 50
	dup 50
	fallocate 20 --fallocate-bytes 4m
	$([ "$(id -u)" != 0 ] || echo fanotify 20)
	fcntl 100
	filename 50
	flock 200
	fpunch 1
	fstat 100
	getdent 50
	handle 100
	hdd 50 --hdd-bytes 4m
	inotify 4
	io 50
	iomix 50 --iomix-bytes 4m
	lease 50
	link 1
	locka 100
	lockf 100
	lockofd 100
	mknod 50
	mmap 4 --mmap-file --mmap-bytes 1m
	msync 50
	open 100
	readahead 50 --readahead-bytes 4m
	rename 200
	seek 200 --seek-size 4m
	sendfile 50
	splice 50
	symlink 1
	sync-file 20 --sync-file-bytes 4m
	touch 50
	utime 50
	xattr 2
	S
}
stress() {
	local name=$1 ops=$2
	shift 2
	timeout "$HANG" stress-ng "--$name" 1 "--$name-ops" "$ops" "$@" --verify --timeout 2 --temp-path "$DIR" --oomable
}
run() {
	local name options
	while read -r name options; do
		[ -n "$name" ] || continue
		check "$name" show_said stress "$name" $options
		check "$name was not passed over, and has no complaint" no_complaint skipp unrecognized 'not (implemented|supported)' fail
	done < <(stressors)
}
both run
finish
