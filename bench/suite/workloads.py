# SPDX-License-Identifier: MIT
"""What `make bench` runs: the table of workloads."""
import os
import subprocess
from dataclasses import dataclass, field

# page batches of bench_pairs: how many at once, order of the frees, touched, threads
PAGE_CELLS = [f"page{t}-{n}-{order}{touch}"
              for t in ("", "2") for n in (64, 512, 8192)
              for order in ("lifo", "fifo", "random") for touch in ("", "-touch")]
QUICK_PAGES = {"page-64-lifo", "page-512-lifo", "page-8192-lifo", "page-8192-random",
               "page-8192-lifo-touch", "page2-64-lifo", "page2-8192-lifo"}
# other cases of bench_pairs; the second: is it one of pages
PAIR_CELLS = [("pair-4096", True), ("calloc-4096", True), ("threads-4096", True),
              ("handoff-4096", True), ("pair-16", False), ("pair-64", False),
              ("pair-256", False), ("threads-64", False), ("handoff-64", False),
              ("batch-1000x64", False), ("mixed-10k", False), ("realloc-grow", False)]
# workloads of `load` whose work is the same with any number of threads, for the curves
CURVES = [("larson", (1, 2, 4, 8)), ("mstress", (1, 2, 4, 8)), ("crowd", (1, 2, 4, 16, 64))]
SLOW_LOADS = {"burst"}          # their time is fixed: one run for memory, none for speed
QUICK_LOADS = {"sh6", "glibc-thread", "rptest", "tree", "words", "larson", "xmalloc", "mstress",
               "crowd", "large", "realloc", "calloc", "frag", "fork", "stl"}


@dataclass
class Workload:
    name: str
    group: str                  # pages, pairs, kernels, curves, programs, start, latency, memory
    what: str
    argv: list = field(default_factory=list)
    client: str = ""            # of a server
    env: list = field(default_factory=list)
    threads: int = 1
    quick: bool = True
    timeout: int = 60

    @property
    def family(self):
        """What is run equally often: a curve's workloads are put in relation."""
        return self.name.split("@")[0] if self.group == "curves" else self.name

    @property
    def unit(self):
        return "ns/op" if self.group in ("pages", "pairs") else "ms CPU"


def pairs(_out):
    for name in PAGE_CELLS:
        yield Workload(name, "pages", "pages: allocate so many, free them in this order",
                       threads=2 if name.startswith("page2") else 1, quick=name in QUICK_PAGES)
    for name, is_page in PAIR_CELLS:
        yield Workload(name, "pages" if is_page else "pairs", "see bench_pairs -l",
                       threads=2 if name.startswith(("threads", "handoff")) else 1)


def kernels(out):
    load = os.path.join(out, "load")
    text = subprocess.run([load, "-l"], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        name, threads, what = line.split("\t")
        group = "memory" if name in SLOW_LOADS else "kernels"
        yield Workload(name, group, what, [load, name], threads=int(threads),
                       quick=name in QUICK_LOADS or group == "memory")
    yield Workload("stl", "kernels", "C++ maps, strings, lists, shared pointers",
                   [os.path.join(out, "load_stl")])
    for name, counts in CURVES:
        for n in counts:
            yield Workload(f"{name}@{n}", "curves", f"{name} with {n} threads",
                           [load, "-t", str(n), name], threads=n, quick=False)


def others(_out):
    yield Workload("start", "start", "start and end `true`")
    yield Workload("latency", "latency", "malloc(4096) and the first write, each timed")
