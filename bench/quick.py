#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Labyrinth beside other allocators: interleaved rounds, medians, ratios, goals.

Called by run_quick.sh, which builds the programs.  In each round, each case runs
once under each allocator, in an order that changes from round to round, each time
in a process of its own.  A ratio is taken within a round, between runs that are a
fraction of a second apart, and the median of these ratios is compared with the
goal: so a machine that is slow for a while slows both.

Exit status: 0 measured, 1 a measurement failed, 2 usage, 3 a goal was missed and
--strict was given.
"""
import argparse
import fnmatch
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time

RESERVE_KIB = 512           # what the page reserve may add to a program's size
PEER_EVERY = 3              # allocators without a goal run in one round of three
SUBJECT, RIVAL = "labyrinth", "jemalloc"

# name of the case, what it is, the goal (at most this part of jemalloc's), and the
# case of jemalloc to compare with where that is another one
CASES = [
    ("call-floor", "two calls into a library that do nothing", None, None),
    ("pair-4096", "malloc(4096) + free", 0.6, None),
    ("api-page", "labyrinth_alloc_page(GFP_ATOMIC) + free_page", 0.5, "pair-4096"),
    ("api-exclusive", "..._alloc_page_gfp_atomic_exclusive + free_page", None, "pair-4096"),
    ("api-bulk-64", "64 pages by the bulk calls, per page", None, "pair-4096"),
    ("pair-16", "malloc(16) + free", 1.0, None),
    ("pair-64", "malloc(64) + free", 1.0, None),
    ("pair-256", "malloc(256) + free", 1.0, None),
    ("pages-8192-lifo", "8,192 pages, freed last to first", 0.3, None),
    ("pages-8192-cold", "the same, for the first time", None, None),
    ("pages-8192-fifo", "freed first to last", None, None),
    ("pages-8192-random", "freed in random order", None, None),
    ("pages-8192-touch", "last to first, each page written", None, None),
    ("pages-64", "64 pages", None, None),
    ("pages-512", "512 pages", None, None),
    ("batch-1000x64", "1,000 blocks of 64 bytes", None, None),
    ("calloc-4096", "calloc(1, 4096) + free", None, None),
    ("mixed-10k", "16..4095 bytes, 10,000 live", None, None),
    ("realloc-grow", "a vector grows to 1 MiB, per realloc", None, None),
    ("threads-64", "2 threads: malloc(64) + free", None, None),
    ("handoff-64", "allocated here, freed there", None, None),
    ("larson", "2 threads leave blocks to the next 2", None, None),
]
STARTS = [
    ("start-wall", "`true`: wall time", 1.0),
    ("start-cpu", "`true`: user + system time", 1.0),
]
SIZES = [
    ("start-peak", "`true`: peak resident", RESERVE_KIB),
    ("start-anon", "of that, private to it", None),
]
# ns that a case of labyrinth may take, whatever others do; an operation is one page
# allocated and freed.  6.72 ns: a frame of 84 bytes on the wire at 100 Gbit/s
LIMITS = {"api-page": 6.72, "api-bulk-64": 1.5}
DERIVED = {"pages-8192-cold": ("pages-8192-lifo", "first")}
PEERS = [
    ("jemalloc", ["libjemalloc.so.2"]),
    ("mimalloc", ["libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so.2.0"]),
    ("gperftools", ["libtcmalloc_minimal.so.4"]),
]


class Failed(Exception):
    """A run that gave no number; the text says why."""


class Unavailable(Failed):
    """The case needs a function that the library does not have."""


class Allocator:
    def __init__(self, name, path):
        self.name = name
        self.path = path        # None: libc's, no preload
        self.api_path = path    # where labyrinth_alloc_page() is
        self.env = {}
        self.backend = None
        self.missing = path is not None and not os.path.exists(path)

    def environment(self, path):
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", **self.env}
        if path:
            env["LD_PRELOAD"] = path
        return env


def parse_options():
    p = argparse.ArgumentParser(
        prog="run_quick.sh", description="Labyrinth beside other allocators, in one short run.",
        epilog="--install, as the first option, installs missing packages with apt-get. "
               "REPS in the environment is the default of --reps.")
    p.add_argument("--reps", type=int, default=int(os.environ.get("REPS", "15")),
                   help="rounds (default %(default)s)")
    p.add_argument("--ms", type=int, default=40, help="per run (default %(default)s ms)")
    p.add_argument("--case", action="append", default=[], metavar="NAME",
                   help="only these; separated by commas, * and ? allowed")
    p.add_argument("--allocators", action="append", default=[], metavar="NAME=FILE...",
                   help="more allocators, separated by blanks; NAME= leaves one out")
    p.add_argument("--backend", choices=["rseq", "trylock"],
                   help="of labyrinth's per-CPU stacks (default: its own choice)")
    p.add_argument("--env", action="append", default=[], metavar="NAME=VALUE",
                   help="for labyrinth alone")
    p.add_argument("--no-plt", action="store_true",
                   help="call through the GOT, as programs built with -fno-plt do")
    p.add_argument("--starts", type=int, default=500,
                   help="programs to start under each allocator (default %(default)s)")
    p.add_argument("--program", default="true", help="which (default %(default)s)")
    p.add_argument("--lib", metavar="DIR", help="where labyrinth is (default build/release)")
    p.add_argument("--json", metavar="FILE", help="(default build/bench/quick.json)")
    p.add_argument("--strict", action="store_true", help="exit status 3 if a goal is missed")
    p.add_argument("--list", action="store_true", help="list the cases")
    p.add_argument("--top", default=".", help=argparse.SUPPRESS)
    p.add_argument("--out", default="build/bench", help=argparse.SUPPRESS)
    opts = p.parse_args()
    if opts.reps < 1 or opts.ms < 1 or opts.starts < 1:
        p.error("--reps, --ms and --starts are at least 1")
    opts.lib = opts.lib or os.path.join(opts.top, "build", "release")
    opts.json = opts.json or os.path.join(opts.out, "quick.json")
    opts.pairs = os.path.join(opts.out, "bench_pairs_noplt" if opts.no_plt else "bench_pairs")
    opts.case = [c for arg in opts.case for c in arg.split(",") if c]
    names = [c[0] for c in CASES + STARTS + SIZES]
    for pattern in opts.case:
        if not fnmatch.filter(names, pattern):
            p.error(f"no such case: {pattern} (see --list)")
    for item in opts.env + [w for arg in opts.allocators for w in arg.split()]:
        if "=" not in item:
            p.error(f"not of the form NAME=...: {item}")
    return opts


# Finding the allocators

def elf_kind(path):
    """Class and machine of an ELF file, to tell 32-bit libraries from ours."""
    with open(path, "rb") as f:
        head = f.read(20)
    return head[4:6] + head[18:20]


def find_library(sonames, like):
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    try:
        text = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    for soname in sonames:
        for line in text.splitlines():
            name, _, path = line.strip().partition(" ")
            path = path.rpartition("=> ")[2]
            if name == soname and os.path.exists(path) and elf_kind(path) == elf_kind(like):
                return path
    return None


def find_allocators(opts):
    found = {"glibc": Allocator("glibc", None)}
    for name, sonames in PEERS:
        path = find_library(sonames, opts.pairs)
        if path:
            found[name] = Allocator(name, path)
    preload = os.path.realpath(os.path.join(opts.lib, "liblabyrinth-preload.so"))
    labyrinth = Allocator(SUBJECT, preload)
    for word in [w for arg in opts.allocators for w in arg.split()]:
        name, _, path = word.partition("=")
        if name == SUBJECT and path:
            labyrinth = Allocator(SUBJECT, os.path.realpath(path))
        elif path:
            found[name] = Allocator(name, os.path.realpath(path))
            if found[name].missing:
                sys.exit(f"quick.py: no such file: {path}")
        else:
            found.pop(name, None)
    labyrinth.api_path = os.path.realpath(os.path.join(opts.lib, "liblabyrinth.so"))
    labyrinth.env = dict(item.split("=", 1) for item in opts.env)
    if opts.backend == "trylock":
        labyrinth.env["GLIBC_TUNABLES"] = "glibc.pthread.rseq=0"
    labyrinth.backend = opts.backend
    found[SUBJECT] = labyrinth
    return found


def version_of(path):
    for name in (path, path.replace("/usr/lib/", "/lib/", 1), os.path.realpath(path)):
        try:
            owner = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True)
            if owner.returncode == 0:
                package = owner.stdout.split(": ")[0].split(",")[0]
                return subprocess.run(
                    ["dpkg-query", "-W", "-f", "${Package} ${Version}", package],
                    capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            break
    return os.path.basename(os.path.realpath(path))


def first_line(*command):
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return text.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def describe_machine(opts):
    model = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            for line in f:
                if line.startswith("model name"):
                    model = line.split(":", 1)[1].strip()
                    break
        with open("/sys/kernel/mm/transparent_hugepage/enabled", encoding="utf-8") as f:
            thp = f.read().partition("[")[2].partition("]")[0]
    except OSError:
        thp = "unknown"
    return {
        "cpu": model, "cpus": len(os.sched_getaffinity(0)), "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()), "thp": thp,
        "load": [round(x, 2) for x in os.getloadavg()],
        "compiler": first_line(os.environ.get("CC", "cc").split()[0], "--version"),
        "commit": first_line("git", "-C", opts.top, "describe", "--always", "--dirty"),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


# Measuring

def run(command, env):
    try:
        r = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired as e:
        raise Failed("took more than 60 s") from e
    if r.returncode == 4:
        raise Unavailable(r.stderr.strip())
    if r.returncode:
        why = r.stderr.strip().splitlines()
        raise Failed(why[-1] if why else f"exit status {r.returncode}")
    return dict(item.split("=", 1) for item in r.stdout.split())


class Bench:
    def __init__(self, opts, allocators):
        self.opts = opts
        self.allocators = allocators
        self.data = {}          # (case, allocator) -> {round: value}
        self.failures = {}      # (case, allocator) -> why
        self.absent = set()     # (case, allocator) that the library has no function for
        self.api_from = {}      # api case -> the file that had it
        self.backend = None

    def record(self, case, alloc, rnd, value):
        self.data.setdefault((case, alloc.name), {})[rnd] = float(value)

    def attempt(self, cases, alloc, work):
        """Runs work(), which gives numbers for cases; what failed once is not tried again."""
        key = cases[0], alloc.name
        if key in self.failures or key in self.absent:
            return
        try:
            work()
        except Unavailable:
            self.absent.add(key)
        except Failed as e:
            self.failures[key] = str(e)
            for case in cases:
                self.data.pop((case, alloc.name), None)
            print(f"# FAILED {cases[0]} under {alloc.name}: {e}", file=sys.stderr)

    def order(self, rnd):
        """Those that take part in this round; each comes first as often as last."""
        present = [a for a in self.allocators.values() if not a.missing]
        if rnd % PEER_EVERY:
            present = [a for a in present if a.name in (SUBJECT, RIVAL)]
        shift = (rnd // 2) % len(present)
        present = present[shift:] + present[:shift]
        return present[::-1] if rnd % 2 else present

    def pairs(self, case, alloc, path):
        r = run([self.opts.pairs, "-t", str(self.opts.ms), "-m", path or "system", case],
                alloc.environment(path))
        if alloc.name == SUBJECT and r["backend"] != "-":
            self.backend = r["backend"]
            if alloc.backend and alloc.backend != r["backend"]:
                raise Failed(f"back end is {r['backend']}, not {alloc.backend}")
        return r

    def pairs_api(self, case, alloc):
        """From the preload if it exports the call, else from the library."""
        path = self.api_from.get(case, alloc.path)
        try:
            r = self.pairs(case, alloc, path)
        except Unavailable:
            path = alloc.api_path
            if not os.path.exists(path):
                raise
            r = self.pairs(case, alloc, path)
        self.api_from[case] = path
        return r

    def one_case(self, case, alloc, rnd):
        def work():
            if case.startswith("api-"):
                r = self.pairs_api(case, alloc)
            else:
                r = self.pairs(case, alloc, alloc.path)
            self.record(case, alloc, rnd, r["med"])
            for name, (source, key) in DERIVED.items():
                if source == case:
                    self.record(name, alloc, rnd, r[key])
        if not case.startswith("api-") or alloc.name == SUBJECT:
            derived = [name for name, (source, _) in DERIVED.items() if source == case]
            self.attempt([case, *derived], alloc, work)

    def measure_pairs(self, cases):
        for rnd in range(self.opts.reps):
            for case in cases:
                for alloc in self.order(rnd):
                    self.one_case(case, alloc, rnd)
            self.progress(f"round {rnd + 1} of {self.opts.reps}")

    def start(self, alloc, *options):
        command = [os.path.join(self.opts.out, "bench_start"), *options]
        for item in alloc.environment(alloc.path).items():
            if item[0] != "LD_PRELOAD":
                command += ["-e", "=".join(item)]
        if alloc.path:
            command += ["-p", alloc.path]
        program = shutil.which(self.opts.program)
        if not program:
            raise Failed(f"no such program: {self.opts.program}")
        return run([*command, program], {"PATH": "/usr/bin:/bin"})

    def measure_starts(self):
        batches = min(self.opts.starts, 50)
        count = str(-(-self.opts.starts // batches))
        for rnd in range(batches):
            for alloc in self.order(rnd):
                def work(alloc=alloc, rnd=rnd):
                    r = self.start(alloc, "-n", count)
                    self.record("start-wall", alloc, rnd, r["wall_mean"])
                    self.record("start-cpu", alloc, rnd, r["cpu_mean"])
                self.attempt(["start-wall", "start-cpu"], alloc, work)
        self.progress("starts")

    def measure_sizes(self):
        for rnd in range(self.opts.reps):
            for alloc in self.order(rnd):
                def work(alloc=alloc, rnd=rnd):
                    r = self.start(alloc, "-r")
                    self.record("start-peak", alloc, rnd, r["peak"])
                    self.record("start-anon", alloc, rnd, int(r["anon"]) + int(r["shmem"]))
                self.attempt(["start-peak", "start-anon"], alloc, work)

    @staticmethod
    def progress(what):
        if sys.stderr.isatty():
            print(f"\r\033[K# {what}", end="", file=sys.stderr, flush=True)

    # Results

    def median(self, case, alloc):
        values = self.data.get((case, alloc))
        return statistics.median(values.values()) if values else None

    def compare(self, case, base, difference=False):
        """Median and quartiles, over rounds, of labyrinth over (or minus) jemalloc."""
        ours = self.data.get((case, SUBJECT), {})
        theirs = self.data.get((base or case, RIVAL), {})
        both = [(ours[r], theirs[r]) for r in ours if r in theirs]
        if not both:
            return None
        values = [a - b if difference else a / b for a, b in both]
        q1, mid, q3 = (statistics.quantiles(values, n=4, method="inclusive")
                       if len(values) > 1 else values * 3)
        return {"median": mid, "q1": q1, "q3": q3, "rounds": values}


# Reporting

class Table:
    def __init__(self, bench, names):
        self.bench = bench
        self.names = names
        self.rows = []
        self.count = {True: 0, False: 0, None: 0}

    def head(self, unit, versus):
        columns = "".join(f"{name[:10]:>11}" for name in self.names)
        print(f"# {'case: ' + unit:<18}{columns}  {versus:<19} goal    verdict")

    def row(self, case, what, unit, goal, base=None, difference=False):
        cells, medians = "", {}
        for name in self.names:
            value = medians[name] = self.bench.median(case, name)
            cells += f"{'-':>11}" if value is None else f"{value:11.{0 if value > 999 else 2}f}"
        versus = self.bench.compare(case, base, difference)
        verdict, passed = "", None
        if goal is not None:
            passed = versus["median"] <= goal if versus else None
            self.count[passed] += 1
            verdict = {True: "PASS", False: "FAIL", None: "not measured"}[passed]
        digits, sign = (0, "+") if difference else (2, "")
        shown = "-" if not versus else "{0:{f}} ({1:{f}}..{2:{f}})".format(
            versus["median"], versus["q1"], versus["q3"], f=f"{sign}.{digits}f")
        wanted = "" if goal is None else f"<={goal:{sign}.{digits if difference else 1}f}"
        print(f"{case:<20}{cells}  {shown:<19} {wanted:<7} {verdict}".rstrip())
        self.rows.append({
            "case": case, "what": what, "unit": unit, "goal": goal, "passed": passed,
            "baseline": base or case, "comparison": "difference" if difference else "ratio",
            "median": medians, "versus_jemalloc": versus,
            "rounds": {n: list(self.bench.data.get((case, n), {}).values()) for n in self.names},
        })

    def limit(self, case, unit, goal):
        value = self.bench.median(case, SUBJECT)
        passed = None if value is None else value <= goal
        self.count[passed] += 1
        shown = "-" if value is None else f"{value:.2f}"
        verdict = {True: "PASS", False: "FAIL", None: "not measured"}[passed]
        print(f"{case:<20}{shown:>11} {unit}  <={goal:.2f}  {verdict}")
        self.rows.append({"case": case, "what": "absolute limit", "unit": unit, "goal": goal,
                          "passed": passed, "comparison": "absolute",
                          "median": {SUBJECT: value}})


def selected(cases, opts):
    if not opts.case:
        return cases
    return [c for c in cases if any(fnmatch.fnmatchcase(c[0], p) for p in opts.case)]


def programs_for(cases):
    """The cases of bench_pairs that give the rows, each once, bases included."""
    wanted = []
    for name, _, _, base in cases:
        for need in (base, DERIVED.get(name, (name,))[0]):
            if need and need not in wanted:
                wanted.append(need)
    return wanted


def print_head(opts, machine, allocators):
    print("# {cpu}, {cpus} CPUs, Linux {kernel}, {libc}, THP {thp}, load {load[0]}"
          .format(**machine))
    print("# {compiler}, commit {commit}, {date}; {reps} rounds, {calls}"
          .format(reps=opts.reps, calls="no PLT" if opts.no_plt else "PLT", **machine))
    for a in allocators.values():
        if a.path:
            print(f"# {a.name}: {a.version} {a.path}" + (" MISSING" if a.missing else ""))
    if allocators[SUBJECT].env:
        print("# labyrinth runs with " +
              " ".join("=".join(item) for item in allocators[SUBJECT].env.items()))
    sys.stdout.flush()


def report(bench, opts, cases, starts, sizes):
    bench.progress("")
    table = Table(bench, list(bench.allocators))
    if cases:
        table.head("ns/op", "labyrinth/jemalloc")
        for name, what, goal, base in cases:
            table.row(name, what, "ns/op", goal, base)
    limits = [(c[0], LIMITS[c[0]]) for c in cases if c[0] in LIMITS]
    if limits:
        print("# absolute: labyrinth alone, median of the rounds, a page there and back")
        for name, goal in limits:
            table.limit(name, "ns/op", goal)
    if starts:
        table.head("us/start", "labyrinth/jemalloc")
        for name, what, goal in starts:
            table.row(name, what, "us", goal)
    if sizes:
        table.head("KiB", "labyrinth-jemalloc")
        for name, what, goal in sizes:
            table.row(name, what, "KiB", goal, difference=True)
    if bench.backend:
        print(f"# labyrinth's per-CPU stacks: {bench.backend}")
    for case, path in bench.api_from.items():
        base = {c[0]: c[3] for c in CASES}[case]
        print(f"# {case}: from {os.path.basename(path)}, beside jemalloc's {base}")
    print("# versus: median of the rounds (and quartiles); the others run in one round of "
          f"{PEER_EVERY}")
    return table


def main():
    opts = parse_options()
    if opts.list:
        for c in CASES + STARTS + SIZES:
            print(f"{c[0]:<20}{c[1]}" + (f"  (goal {c[2]})" if c[2] else ""))
        return 0
    allocators = find_allocators(opts)
    if RIVAL not in allocators:
        print("quick.py: jemalloc is missing; try run_quick.sh --install", file=sys.stderr)
        return 2
    for a in allocators.values():
        a.version = "" if not a.path or a.name == SUBJECT else version_of(a.path)
    machine = describe_machine(opts)
    print_head(opts, machine, allocators)
    if allocators[SUBJECT].missing:
        print("# labyrinth is not built: its goals cannot be measured", file=sys.stderr)
    cases, starts, sizes = (selected(c, opts) for c in (CASES, STARTS, SIZES))
    began = time.monotonic()
    bench = Bench(opts, allocators)
    bench.measure_pairs(programs_for(cases))
    if starts:
        bench.measure_starts()
    if sizes:
        bench.measure_sizes()
    table = report(bench, opts, cases, starts, sizes)
    seconds = time.monotonic() - began
    passed, failed, unknown = (table.count[k] for k in (True, False, None))
    os.makedirs(os.path.dirname(os.path.abspath(opts.json)), exist_ok=True)
    with open(opts.json, "w", encoding="utf-8") as f:
        json.dump({
            "machine": machine, "seconds": round(seconds, 1), "rounds": opts.reps,
            "plt": not opts.no_plt,
            "allocators": {a.name: {"path": a.path, "version": a.version, "env": a.env,
                                    "missing": a.missing} for a in allocators.values()},
            "backend": bench.backend, "rows": table.rows,
            "failures": [{"case": c, "allocator": a, "why": why}
                         for (c, a), why in bench.failures.items()],
            "passed": passed, "failed": failed, "not_measured": unknown,
        }, f, indent=1)
        f.write("\n")
    print(f"# {seconds:.0f} s; all numbers in {opts.json}")
    print(f"{passed} passed, {failed} failed" + (f", {unknown} not measured" if unknown else ""))
    if bench.failures or unknown or allocators[SUBJECT].missing:
        return 1
    return 3 if opts.strict and failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
