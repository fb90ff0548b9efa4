#!/usr/bin/env python3
"""peak -- runs a command and tells its peak resident memory.

	peak.py FILE NAME COMMAND...	appends "NAME KIB" to FILE; exit status as the command's

A command that has run others, and waited for them, counts as the largest of them.
"""
import os
import resource
import sys

pid = os.fork()
if pid == 0:
    os.execvp(sys.argv[3], sys.argv[3:])
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "a") as f:
    f.write("%s %d\n" % (sys.argv[2], usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status) & 255)
