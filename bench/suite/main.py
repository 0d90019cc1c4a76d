#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The benchmark suite: Labyrinth beside other allocators.

Called by bench/run_suite.sh, which installs and builds.  In each round each workload
runs once under each allocator, one process at a time, in an order that changes.

Exit status: 0 measured, 1 some cell failed, 2 usage, 3 --strict and a goal was missed.
"""
import argparse
import fnmatch
import json
import os
import shutil
import sys
import time

sys.path[0:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import quick  # noqa: E402
import measure  # noqa: E402
import plots  # noqa: E402
import programs  # noqa: E402
import results  # noqa: E402
import workloads  # noqa: E402

PEERS = [*quick.PEERS, ("tbbmalloc", ["libtbbmalloc_proxy.so.2"])]
PACKAGES = {"jemalloc": "libjemalloc2", "mimalloc": "libmimalloc2.0",
            "gperftools": "libtcmalloc-minimal4", "tbbmalloc": "libtbbmalloc2"}


class Allocator:
    def __init__(self, name, path, version, libc, env=()):
        self.name, self.path, self.version, self.libc = name, path, version, libc
        self.env_list = list(env)


def parse_options():
    p = argparse.ArgumentParser(
        prog="make bench", description=__doc__.splitlines()[0],
        epilog="make bench REPEAT=N ONLY=PATTERN,... QUICK=1 ALLOCATORS='NAME=/path.so ...' "
               "sets these; BENCH_ARGS passes others.")
    p.add_argument("--repeat", type=int, default=0,
                   help="rounds (default 5; 3 with --quick); up to three times as many of "
                        "workloads whose interval is wide")
    p.add_argument("--only", default="", metavar="NAME,...",
                   help="workloads or groups, * and ? allowed; see --list")
    p.add_argument("--quick", action="store_true", help="fewer workloads, 3 rounds")
    p.add_argument("--allocators", default="", metavar="NAME=FILE ...",
                   help="more of them; NAME= leaves one out")
    p.add_argument("--env", action="append", default=[], metavar="NAME=VALUE",
                   help="for labyrinth alone")
    p.add_argument("--lib", default="build/release", help="where labyrinth is")
    p.add_argument("--out", default="build/bench", help="where the programs are")
    p.add_argument("--results", help="directory (default OUT/results)")
    p.add_argument("--port", type=int, default=27600, help="for redis; nginx has the next")
    p.add_argument("--list", action="store_true", help="list the workloads")
    p.add_argument("--strict", action="store_true", help="exit status 3 if a goal was missed")
    p.add_argument("--top", default=".", help=argparse.SUPPRESS)
    opts = p.parse_args()
    opts.repeat = opts.repeat or (3 if opts.quick else 5)
    opts.out = os.path.abspath(opts.out)
    opts.results = opts.results or os.path.join(opts.out, "results")
    return opts


def find_allocators(opts):
    like = os.path.join(opts.out, "bench_pairs")
    libc = quick.find_library(["libc.so.6"], like)
    found = {"glibc": Allocator("glibc", None, quick.version_of(libc), libc)}
    for name, sonames in PEERS:
        path = quick.find_library(sonames, like)
        if path:
            found[name] = Allocator(name, path, quick.version_of(path), libc)
        else:
            print(f"# {name} is not here (package {PACKAGES[name]}): left out", file=sys.stderr)
    ours = os.path.realpath(os.path.join(opts.lib, "liblabyrinth-preload.so"))
    for word in opts.allocators.split():
        name, eq, path = word.partition("=")
        if not eq:
            sys.exit(f"make bench: not of the form NAME=FILE: {word}")
        if name == results.SUBJECT and path:
            ours = os.path.realpath(path)
        elif path:
            if not os.path.exists(path):
                sys.exit(f"make bench: no such file: {path}")
            path = os.path.realpath(path)
            found[name] = Allocator(name, path, quick.version_of(path), libc)
        else:
            found.pop(name, None)
    if not os.path.exists(ours):
        sys.exit("make bench: Labyrinth is not built")
    version = "commit " + quick.first_line("git", "-C", opts.top, "describe", "--always", "--dirty")
    found[results.SUBJECT] = Allocator(results.SUBJECT, ours, version, libc, opts.env)
    return list(found.values())


def table(opts):
    data = os.path.join(opts.out, "data")
    every = [*workloads.pairs(opts.out), *workloads.kernels(opts.out),
             *programs.programs(data, opts.port), *workloads.others(opts.out)]
    chosen = [w for w in every if w.quick or not opts.quick]
    if opts.only:
        patterns = opts.only.split(",")
        chosen = [w for w in every if any(fnmatch.fnmatchcase(w.name, p) or w.group == p
                                          for p in patterns)]
    return every, chosen


def write(opts, document):
    os.makedirs(opts.results, exist_ok=True)
    for name in os.listdir(opts.results):
        if name.endswith((".svg", ".png", ".html")):
            os.unlink(os.path.join(opts.results, name))
    text = results.markdown(document)
    with open(os.path.join(opts.results, "results.json"), "w", encoding="utf-8") as f:
        json.dump(document, f)
        f.write("\n")
    with open(os.path.join(opts.results, "results.md"), "w", encoding="utf-8") as f:
        f.write(text + "\n")
    if shutil.which("gnuplot"):
        plots.all_plots(document, opts.results)
    else:
        print("# no gnuplot: no plots", file=sys.stderr)
    print(text)


def main():
    opts = parse_options()
    every, chosen = table(opts)
    if opts.list:
        for w in every:
            print(f"{w.name:24}{w.group:10}{w.threads:3}  {w.what}")
        return 0
    absent = programs.missing()
    if any(w.group == "programs" for w in chosen) and absent:
        packages = sorted({programs.PACKAGES[name] for name in absent})
        sys.exit(f"make bench: not here: {' '.join(absent)}; install {' '.join(packages)}")
    if not chosen:
        sys.exit(f"make bench: no workload matches {opts.only}; see BENCH_ARGS=--list")
    allocators = find_allocators(opts)
    machine = quick.describe_machine(opts)
    print("# {cpu}, {cpus} CPUs, Linux {kernel}, {libc}, THP {thp}, load {load[0]}"
          .format(**machine))
    for a in allocators:
        print(f"# {a.name}: {a.version}")
    print(f"# {len(chosen)} workloads, {opts.repeat} rounds", flush=True)
    began = time.monotonic()
    scratch = os.path.join(opts.out, "scratch")
    runner = measure.Runner(opts.out, scratch)
    data, failures = measure.measure(runner, chosen, allocators, opts.repeat)
    options = {"repeat": opts.repeat, "quick": opts.quick, "only": opts.only, "env": opts.env}
    document = results.build(machine, allocators, options, chosen, data, failures, runner,
                             time.monotonic() - began)
    write(opts, document)
    if failures:
        return 1
    return 3 if opts.strict and any(g[3] is False for g in document["goals"]) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
