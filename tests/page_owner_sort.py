#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Read page_owner records as the kernel's tools/mm/page_owner_sort.c does.

The expressions are those of that program, the blocks are separated by an empty
line (Documentation/mm/page_owner.rst).  Prints one line for each stack:
"PAGES TIMES FUNCTION", FUNCTION being the innermost one.  Anything that does not
fit is an error.

usage: page_owner_sort.py FILE [TGID COMM]
"""
import collections
import re
import sys

ORDER = re.compile(r"order\s*([0-9]*),")
PID = re.compile(r"pid\s*([0-9]*),")
TGID = re.compile(r"tgid\s*([0-9]*) ")
COMM = re.compile(r"tgid\s*[0-9]*\s*\((.*)\),\s*ts")
TS = re.compile(r"ts\s*([0-9]*)\s*ns")
# print_page_owner(), mm/page_owner.c, and %pS, %pGg, %pGp of lib/vsprintf.c
HEAD = re.compile(
    r"Page allocated via order \d+, mask 0x[0-9a-f]+\([A-Z_|0-9a-fx]+\), pid \d+, "
    r"tgid \d+ \(.*\), ts \d+ ns"
)
PFN = re.compile(
    r"PFN 0x[0-9a-f]+ type \w+ Block \d+ type \w+ Flags 0x[0-9a-f]+\([\w=|]+\)"
)
FRAME = re.compile(r" (\S+)\+0x[0-9a-f]+/0x[0-9a-f]+( \[\S+\])?| \[<\S+>(\+0x[0-9a-f]+)?\]")


def number(expression, text):
    found = expression.search(text)
    if not found or not found.group(1):
        raise ValueError("no match of %s in:\n%s" % (expression.pattern, text))
    return int(found.group(1))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    want = sys.argv[2:]
    pages, times, last = collections.Counter(), collections.Counter(), None
    if not text.endswith("\n\n"):
        raise ValueError("the last record is cut")
    for block in text.split("\n\n")[:-1]:
        lines = block.split("\n")
        if not HEAD.fullmatch(lines[0]) or not PFN.fullmatch(lines[1]):
            raise ValueError("not the kernel's format:\n" + block)
        for line in lines[2:]:
            if not FRAME.fullmatch(line):
                raise ValueError("not a frame: %r" % line)
        order, pid, tgid = (number(e, block) for e in (ORDER, PID, TGID))
        comm = COMM.search(block).group(1)
        if number(TS, lines[0].rsplit(")", 1)[1]) == 0 or pid == 0:
            raise ValueError("no time, or no pid:\n" + block)
        if want and (str(tgid), comm) != tuple(want):
            raise ValueError("another process: %s (%s)" % (tgid, comm))
        frame = FRAME.fullmatch(lines[2]) if len(lines) > 2 else None
        name = frame.group(1) if frame and frame.group(1) else "?"
        pages[name] += 1 << order
        times[name] += 1
        last = name
    if last is None:
        raise ValueError("no records")
    for name in sorted(pages):
        print(pages[name], times[name], name)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, AttributeError, OSError) as error:
        sys.exit("page_owner_sort: %s" % error)
