#!/usr/bin/env python3
# coverage -- how much of each decoder its fuzz targets reach from the seeds kept in the repository.
# usage: coverage.py [-v] BUILD-DIR DECODERS NAME...
# A line that only fails for want of memory does not count: it says ENOMEM, or is the way out of an allocation that failed.
# -v: shows the lines that are not reached.  Exit status 1 when a decoder has less than 90 %.
import os, re, subprocess, sys

LEAST = 90.0
TAKES = re.compile(r"alloc\w*\(|arena_\w+\(|str(n)?dup\(|buf_(cstr|put\w*|reserve)\(|\b\w*b(uf)?->error|\.error\b|\bnomem\b")


def run(*cmd, **more):
    r = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if r.returncode != 0:
        sys.exit("coverage: %s: exit %d\n%s" % (cmd[0], r.returncode, r.stderr.decode("utf-8", "replace")[-2000:]))
    return r.stdout.decode("utf-8", "replace")


def measure(build, names):
    here = os.path.dirname(os.path.abspath(__file__))
    raws = []
    for n in names:
        raw = os.path.join(build, n + ".profraw")
        run(os.path.join(build, "fuzz_" + n), "-runs=0", os.path.join(here, "corpus", n),
            env=dict(os.environ, LLVM_PROFILE_FILE=raw))
        raws.append(raw)
    data = os.path.join(build, "all.profdata")
    run("llvm-profdata", "merge", "-o", data, *raws)
    objects = []
    for n in names:
        objects += ["-object", os.path.join(build, "fuzz_" + n)]
    lcov = run("llvm-cov", "export", "-format=lcov", "-instr-profile=" + data, *objects)
    files, at = {}, None
    for line in lcov.splitlines():
        if line.startswith("SF:"):
            at = files.setdefault(os.path.relpath(line[3:]), ({}, {}))
        elif line.startswith("FN:"):
            where, name = line[3:].split(",")
            at[1][int(where)] = name.split(":")[-1]
        elif line.startswith("DA:"):
            no, count = line[3:].split(",")[:2]
            at[0][int(no)] = max(int(count), at[0].get(int(no), 0))
    return files


def memory_only(text, no):
    """Is line no, which was not reached, the way of an allocation that failed?"""
    if "ENOMEM" in text[no - 1]:
        return True
    # what stands behind an if about an allocation, up to its last line
    for back in range(1, 5):
        line = text[no - 1 - back] if no - 1 - back >= 0 else ""
        if re.match(r"\s*(\} else )?if \(", line):
            upto = " ".join(text[no - 1 - back:no - 1])
            return bool(TAKES.search(upto)) and bool(re.search(r"== NULL|error != 0|!= 0", upto)) and \
                "rd_" not in upto
    return False


def decoder_lines(lines, functions, wanted):
    start, keep = sorted(functions), {}
    only = {w for w in wanted if not w.startswith("-")}
    but = {w[1:] for w in wanted if w.startswith("-")}
    lost = (only | but) - set(functions.values())
    if lost:
        sys.exit("coverage: no function is called " + ", ".join(sorted(lost)))
    for no, count in lines.items():
        before = [s for s in start if s <= no]
        name = functions[before[-1]] if before else ""
        if (not only or name in only) and name not in but:
            keep[no] = count
    return keep


def main(args):
    verbose = args[0] == "-v"
    build, table, names = args[verbose], args[verbose + 1], args[verbose + 2:]
    files, bad, first, seen = measure(build, names), 0, {}, {}
    for row in open(table):
        row = row.split("#")[0].split()
        if not row:
            continue
        decoder, path, wanted = row[0], row[1], row[2:]
        if path not in files:
            sys.exit("coverage: no target reaches " + path)
        text = open(path, encoding="utf-8").read().split("\n")
        lines = decoder_lines(files[path][0], files[path][1], wanted)
        missed = [n for n in sorted(lines) if lines[n] == 0]
        counted = [n for n in missed if not memory_only(text, n)]
        of = len(lines) - (len(missed) - len(counted))
        share = 100.0 * (of - len(counted)) / of
        low = share < LEAST
        bad += low
        print("%-14s %-40s %5d lines %6.1f %%%s" % (decoder, path, of, share, "  BELOW %d" % LEAST if low else ""))
        if verbose:
            for n in counted:
                print("    %5d %s" % (n, text[n - 1]))
    print("coverage: %s" % ("every decoder has %d %% of its lines or more" % LEAST if not bad else "%d files have less than %d %%" % (bad, LEAST)))
    return bad != 0


sys.exit(main(sys.argv[1:]))
