#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Deliberate bugs, each of which a named test has to catch.

A file of mutants/ is a bug: what it is, the test that must fail, and what is
changed.  The changes are those of a unified diff without line numbers, so
they survive everything but a change of the very lines; a mutant that does not
apply exactly once is an error.

    # one line or more: what is wrong now
    test: unit lifo
    file: src/base/lifo.h
    @@
     context
    -old
    +new

The test is "unit NAME" (tests/test_NAME.c, with both back ends), "explore
ARGUMENT..." (tests/check_explore.sh), or "sh COMMAND", run at the top of a
copy of the tree in which "make" has been run.  A test has to pass on the
unchanged copy first.  One that takes ten times as long as there has hung, and
that counts as caught.
"""
import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HERE = os.path.join(ROOT, "tests", "mutants")
PARTS = ["Makefile", ".clang-format", "src", "include", "preload", "trace", "tests",
         "man", "examples", "bench"]
KEEP_TAIL = 25
TURNS = 3


class Mutant:
    def __init__(self, path):
        self.name = os.path.basename(path)[:-len(".mutant")]
        self.what, self.test, self.changes = [], None, []
        file, old, new = None, None, None
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                line = line.rstrip("\n")
                if old is None and line.startswith("# "):
                    self.what.append(line[2:])
                elif old is None and line.startswith("test: "):
                    self.test = line[6:]
                elif line.startswith("file: "):
                    file = line[6:]
                elif line == "@@":
                    old, new = [], []
                    self.changes.append((file, old, new))
                elif old is not None and line[:1] in (" ", "-", "+", ""):
                    if line[:1] != "+":
                        old.append(line[1:])
                    if line[:1] != "-":
                        new.append(line[1:])
                else:
                    sys.exit(f"{path}: not understood: {line}")
        if not (self.what and self.test and self.changes):
            sys.exit(f"{path}: has no description, no test or no change")

    def apply(self, tree):
        """Change the files of a tree; returns what is wrong, or None."""
        texts = {}
        for file, old, new in self.changes:
            path = os.path.join(tree, file)
            if path not in texts:
                with open(path, encoding="utf-8") as stream:
                    texts[path] = stream.read()
            before, after = "\n".join(old) + "\n", "\n".join(new) + "\n"
            count = texts[path].count(before)
            if count != 1:
                return f"applies {count} times to {file}"
            texts[path] = texts[path].replace(before, after if new else "")
        for path, text in texts.items():
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
        return None


def run(command, tree, limit):
    """Exit code, None for one that had to be killed, and what it said."""
    log = os.path.join(tree, "mutant.log")
    with open(log, "w", encoding="utf-8") as out:
        child = subprocess.Popen(command, cwd=tree, shell=True, stdout=out, stderr=out,
                                 stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
    with open(log, encoding="utf-8", errors="replace") as out:
        return code, out.read()


def commands(test):
    """How a test is built, and how it is run."""
    kind, _, rest = test.partition(" ")
    if kind == "unit":
        names = [f"build/release/tests/test_{name}" for name in rest.split()]
        return f"make -s {' '.join(names)}", f"tests/run_units.sh {' '.join(names)}"
    if kind == "explore":
        return "tests/check_explore.sh --build", f"tests/check_explore.sh {rest}"
    if kind == "sh":
        return "make -s all", rest
    sys.exit(f"no such kind of test: {test}")


def tail(text):
    return "\n".join("    " + line for line in text.splitlines()[-KEEP_TAIL:])


def copy(source, to):
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-a", source, to], check=True)


def main():
    args = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--only", metavar="TEXT", help="mutants whose name or test has TEXT")
    args.add_argument("--sample", type=int, metavar="N", help="N of them, by the seed")
    args.add_argument("--quick", type=float, metavar="S",
                      help="leave out those whose test took longer than S seconds")
    args.add_argument("--seed", type=int, default=None)
    args.add_argument("--apply", action="store_true", help="only see that all of them apply")
    args.add_argument("--dir", default=os.path.join(ROOT, "build", "mutants"))
    args = args.parse_args()

    mutants = [Mutant(os.path.join(HERE, name)) for name in sorted(os.listdir(HERE))
               if name.endswith(".mutant")]
    everyone = len(mutants)
    base, work = os.path.join(args.dir, "base"), os.path.join(args.dir, "work")
    shutil.rmtree(base, ignore_errors=True)
    os.makedirs(base)
    for part in PARTS:
        source = os.path.join(ROOT, part)
        if os.path.exists(source):
            subprocess.run(["cp", "-a", source, base], check=True)

    broken = 0
    for mutant in mutants:
        copy_of = {os.path.join(base, f): None for f, _, _ in mutant.changes}
        for path in copy_of:
            with open(path, encoding="utf-8") as stream:
                copy_of[path] = stream.read()
        why = mutant.apply(base)
        for path, text in copy_of.items():
            times = os.stat(os.path.join(ROOT, os.path.relpath(path, base)))
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        if why:
            print(f"BROKEN   {mutant.name}: {why}")
            broken += 1
    if args.apply or broken:
        print(f"{everyone - broken} mutants apply, {broken} do not")
        sys.exit(1 if broken else 0)

    if args.only:
        mutants = [m for m in mutants if re.search(args.only, m.name + " " + m.test)]
    if args.sample:
        seed = args.seed if args.seed is not None else int(time.time())
        print(f"mutants: {args.sample} of {len(mutants)}, --seed {seed}")
        mutants = random.Random(seed).sample(mutants, min(args.sample, len(mutants)))

    code, said = run("make -s -j2 all", base, 600)
    if code != 0:
        sys.exit("the unchanged tree does not build:\n" + tail(said))
    seconds, flaky, fails = {}, set(), set()
    for test in sorted({m.test for m in mutants}):
        build, check = commands(test)
        code, said = run(build, base, 600)
        for turn in range(TURNS):
            start = time.time()
            if code == 0:
                code, said = run(check, base, 600)
            seconds[test] = time.time() - start
            if code == 0:
                break
            # on a busy machine a test of times may fail; then a bug has to fail each time
            flaky.add(test)
            if turn + 1 == TURNS:
                print(f"FAILED   the unchanged tree: {test}\n" + tail(said), flush=True)
                fails.add(test)
            code, said = run(build, base, 600)

    caught, survived = 0, []
    for mutant in mutants:
        if args.quick and seconds[mutant.test] > args.quick:
            continue
        if mutant.test in fails:
            print(f"BROKEN   {mutant.name}: the unchanged tree fails {mutant.test}", flush=True)
            broken += 1
            continue
        copy(base, work)
        why = mutant.apply(work)
        build, check = commands(mutant.test)
        code, said = run(build, work, 600)
        if why or code != 0:
            print(f"BROKEN   {mutant.name}: {why or 'does not build'}")
            print(tail(said))
            broken += 1
            continue
        start = time.time()
        for _ in range(TURNS if mutant.test in flaky else 1):
            code, said = run(check, work, seconds[mutant.test] * 10 + 10)
            if code == 0:
                break
        took = time.time() - start
        if code == 0:
            survived.append(mutant.name)
            print(f"SURVIVED {mutant.name} by {mutant.test} ({took:.1f} s)")
        else:
            caught += 1
            how = " (it hung)" if code is None else ""
            print(f"caught   {mutant.name} by {mutant.test} ({took:.1f} s){how}")
        sys.stdout.flush()
    shutil.rmtree(work, ignore_errors=True)
    print(f"{caught} caught, {len(survived)} survived, {broken} broken")
    sys.exit(1 if survived or broken or not caught else 0)


main()
