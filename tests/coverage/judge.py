#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judge what gcovr has measured: a table per directory of src/, the lines that no
test ran, and for each of them the reason in unreached.txt.

usage: judge.py COVERAGE.json UNREACHED.txt LEAST

Fails below LEAST percent, when a line was not run and its function is not in
UNREACHED.txt or has more such lines than it says there, and when UNREACHED.txt
names a function that is not there.
"""
import collections
import json
import sys


def functions_of(file):
    """(first line, name), in the order of the file"""
    return sorted((f["lineno"], f["name"]) for f in file["functions"])


def function_at(functions, line):
    """"-": of a header's functions that are all inlined gcovr knows none"""
    name = "-"
    for first, of in functions:
        if first > line:
            break
        name = of
    return name


def read_coverage(path):
    """per file: lines, and uncovered lines by function"""
    files = {}
    for file in json.load(open(path))["files"]:
        functions = functions_of(file)
        bare = collections.defaultdict(list)
        lines = covered = 0
        for line in file["lines"]:
            if line["gcovr/noncode"] or line["gcovr/excluded"]:
                continue
            lines += 1
            if line["count"]:
                covered += 1
            else:
                bare[function_at(functions, line["line_number"])].append(line["line_number"])
        files[file["file"]] = (lines, covered, bare, {name for _, name in functions})
    return files


def read_reasons(path):
    """(file, function) -> (most lines, reason)"""
    reasons = {}
    for number, text in enumerate(open(path), 1):
        if text.startswith("#") or not text.strip():
            continue
        try:
            where, most, reason = text.rstrip("\n").split(None, 2)
            file, function = where.split(":")
            reasons[file, function] = (int(most), reason)
        except ValueError:
            sys.exit("%s:%d: not FILE:FUNCTION LINES REASON" % (path, number))
    return reasons


def ranges(lines):
    out = []
    for line in lines:
        if out and line == out[-1][1] + 1:
            out[-1][1] = line
        else:
            out.append([line, line])
    return ", ".join(str(a) if a == b else "%d-%d" % (a, b) for a, b in out)


def print_table(files):
    sums = collections.defaultdict(lambda: [0, 0])
    for name, (lines, covered, _, _) in files.items():
        for key in (name.rsplit("/", 1)[0], "all"):
            sums[key][0] += lines
            sums[key][1] += covered
    print("%-12s %7s %7s %7s" % ("directory", "lines", "run", "%"))
    for key in sorted(sums, key=lambda key: (key == "all", key)):
        lines, covered = sums[key]
        print("%-12s %7d %7d %7.1f" % (key, lines, covered, 100 * covered / lines))
    return 100 * sums["all"][1] / sums["all"][0]


def print_bare(files, reasons):
    """the lines that were not run; how many functions have no reason, or not enough of it"""
    bad = 0
    for name in sorted(files):
        for function, lines in files[name][2].items():
            most, reason = reasons.get((name, function), (0, "NOT EXPLAINED"))
            if len(lines) > most:
                bad += 1
                if most:
                    reason = "%d LINES, NOT THE %d OF: %s" % (len(lines), most, reason)
            print("%s:%s: %s: %s" % (name, function, ranges(lines), reason))
    return bad


def main():
    files = read_coverage(sys.argv[1])
    reasons = read_reasons(sys.argv[2])
    least = float(sys.argv[3])
    print("not run by any test:")
    bad = print_bare(files, reasons)
    gone = [key for key in reasons if key[0] not in files or key[1] not in files[key[0]][3] | {"-"}]
    for file, function in gone:
        print("%s: there is no %s in %s" % (sys.argv[2], function, file))
    print()
    percent = print_table(files)
    print("lines of src/: %.1f %% (at least %g), %d functions with lines that are not explained" %
          (percent, least, bad))
    return bool(bad or gone or percent < least)


sys.exit(main())
