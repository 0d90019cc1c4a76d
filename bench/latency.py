#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long single page allocations take: Labyrinth, jemalloc, mmap, a static pool.

Called by run_quick.sh --latency, which builds the program.  In each round each
case runs once, in a process of its own, in an order that changes; the counts of
all rounds are added up, and percentiles are taken of all samples, exactly.

Exit status: 0 measured, 1 a measurement failed, 2 usage.
"""
import argparse
import json
import os
import subprocess
import sys
import time

import quick

QUANTILES = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999),
             ("p99.999", 0.99999), ("max", 1.0)]


class Case:
    def __init__(self, name, what, program_case, preload=None):
        self.name, self.what, self.program_case, self.preload = name, what, program_case, preload
        self.counts = {}        # ns -> [quiet, all]
        self.chunks = self.quiet = self.faults = self.refused = 0
        self.empty = []
        self.irq = True

    def run(self, opts, samples):
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        if self.preload:
            env["LD_PRELOAD"] = self.preload
        if opts.backend == "trylock":
            env["GLIBC_TUNABLES"] = "glibc.pthread.rseq=0"
        r = subprocess.run([os.path.join(opts.out, "bench_latency"), "-n", str(samples),
                            self.program_case], env=env, capture_output=True, text=True,
                           timeout=600)
        if r.returncode:
            sys.exit(f"latency.py: {self.name}: status {r.returncode}: {r.stderr.strip()}")
        info = {}
        rows = []
        for line in r.stdout.splitlines():
            words = line.split()
            if words[0] == "h":
                rows.append([int(w) for w in words[1:]])
            else:
                info[words[0]] = float(words[1])
        for ticks, quiet, every in rows:
            cell = self.counts.setdefault(ticks * 1000 / info["ticks_per_us"], [0, 0])
            cell[0] += quiet
            cell[1] += every
        self.chunks += int(info["chunks"])
        self.quiet += int(info["quiet"])
        self.faults += int(info["faults"])
        self.refused += int(info["refused"])
        self.empty.append(info["empty"] * 1000 / info["ticks_per_us"])
        self.irq = self.irq and bool(info["irq"])

    def quantiles(self, which):
        """Of the samples, the smallest value that so large a part does not exceed."""
        values = sorted(self.counts)
        total = sum(c[which] for c in self.counts.values())
        result, seen, at = {"samples": total}, 0, 0
        for name, part in QUANTILES:
            while at < len(values) and (seen < part * total or seen == 0):
                seen += self.counts[values[at]][which]
                at += 1
            result[name] = values[at - 1] if total else None
        if total:   # not the last value, but the last that such a sample had
            result["max"] = max(v for v in values if self.counts[v][which])
        return result


def parse_options():
    p = argparse.ArgumentParser(prog="run_quick.sh --latency",
                                description="Single page allocations, each timed by itself.")
    p.add_argument("--samples", type=int, default=10_000_000,
                   help="of each case, in all rounds (default %(default)s)")
    p.add_argument("--reps", type=int, default=10, help="rounds (default %(default)s)")
    p.add_argument("--backend", choices=["rseq", "trylock"])
    p.add_argument("--lib", metavar="DIR", help="where labyrinth is (default build/release)")
    p.add_argument("--json", metavar="FILE", help="(default build/bench/latency.json)")
    p.add_argument("--top", default=".", help=argparse.SUPPRESS)
    p.add_argument("--out", default="build/bench", help=argparse.SUPPRESS)
    opts = p.parse_args()
    if opts.reps < 1 or opts.samples < 1000 * opts.reps:
        p.error("at least one round, and 1000 samples in each")
    opts.lib = opts.lib or os.path.join(opts.top, "build", "release")
    opts.json = opts.json or os.path.join(opts.out, "latency.json")
    return opts


def print_table(title, cases, which):
    print(f"# {title}")
    print(f"# {'ns':<12}{'samples':>11}" + "".join(f"{n:>12}" for n, _ in QUANTILES))
    for case in cases:
        q = case.quantiles(which)
        cells = "".join("           -" if q[n] is None else f"{q[n]:12.0f}" for n, _ in QUANTILES)
        print(f"{case.name:<14}{q['samples']:>11}{cells}")


def main():
    opts = parse_options()
    program = os.path.join(opts.out, "bench_latency")
    rival = quick.find_library(["libjemalloc.so.2"], program)
    ours = os.path.realpath(os.path.join(opts.lib, "liblabyrinth.so"))
    if not rival or not os.path.exists(ours):
        print("latency.py: " + ("liblabyrinth.so is not built" if rival else
                                "jemalloc is missing; try run_quick.sh --install"), file=sys.stderr)
        return 2
    cases = [Case("labyrinth", "labyrinth_alloc_page(GFP_ATOMIC)", "labyrinth", ours),
             Case("jemalloc", "malloc(4096)", "malloc", rival),
             Case("mmap", "mmap of a page", "mmap"),
             Case("static", "an array of free pages, one thread", "static")]
    machine = quick.describe_machine(opts)
    print("# {cpu}, {cpus} CPUs, Linux {kernel}, {libc}, THP {thp}, load {load[0]}"
          .format(**machine))
    print("# {compiler}, commit {commit}, {date}; {reps} rounds"
          .format(reps=opts.reps, **machine))
    print(f"# jemalloc: {quick.version_of(rival)} {rival}")
    began = time.monotonic()
    for rnd in range(opts.reps):
        shift = rnd // 2 % len(cases)
        turn = cases[shift:] + cases[:shift]
        for case in turn[::-1] if rnd % 2 else turn:
            case.run(opts, opts.samples // opts.reps)
    print_table("all samples: allocation of a page and the first write to it", cases, 1)
    how = "context switch or interrupt" if all(c.irq for c in cases) else \
        "context switch (this kernel does not tell of interrupts)"
    print_table(f"without chunks (1,000 samples, mmap 50) in which a {how} happened", cases, 0)
    print("# page faults: " + ", ".join(f"{c.name} {c.faults}" for c in cases))
    print(f"# refused, and no samples: labyrinth {cases[0].refused}")
    print("# clock: {:.1f} ns subtracted; a tick is {:.2f} ns".format(
        sum(cases[0].empty) / len(cases[0].empty),
        min(b - a for a, b in zip(sorted(cases[1].counts)[:-1], sorted(cases[1].counts)[1:])
            if b - a > 0.1)))
    os.makedirs(os.path.dirname(os.path.abspath(opts.json)), exist_ok=True)
    with open(opts.json, "w", encoding="utf-8") as f:
        json.dump({"machine": machine, "rounds": opts.reps,
                   "cases": {c.name: {"what": c.what, "all": c.quantiles(1),
                                      "quiet": c.quantiles(0), "faults": c.faults,
                                      "refused": c.refused,
                                      "chunks": c.chunks, "quiet_chunks": c.quiet}
                             for c in cases}}, f, indent=1)
        f.write("\n")
    print(f"# {time.monotonic() - began:.0f} s; {opts.json}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
