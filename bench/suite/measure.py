# SPDX-License-Identifier: MIT
"""Running workloads: interleaved rounds, one process at a time, all numbers kept."""
import os
import subprocess
import sys
import time

import stats

SUBJECT, RIVAL = "labyrinth", "jemalloc"
LATENCY_SAMPLES = 1_000_000
START_COUNT = "40"
# a workload is run again, up to MORE times as often, while its interval is wider than this
WIDE, MORE = 0.1, 3
MORE_GROUPS = ("kernels", "curves", "programs")


class Failed(Exception):
    """A run that gave no number; the text says why."""


def words(line):
    return {k: v for k, _, v in (w.partition("=") for w in line.split())}


def run(command, timeout=180):
    try:
        r = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                           stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as e:
        raise Failed("took too long") from e
    if r.returncode or "cannot be preloaded" in r.stderr:
        why = r.stderr.strip().splitlines()
        raise Failed(why[-1] if why else f"exit status {r.returncode}")
    return r.stdout


class Runner:
    """@out: where the programs are; @scratch: a file that runs may write to"""

    def __init__(self, out, scratch):
        self.out = out
        self.scratch = scratch
        self.cpu = max(os.sched_getaffinity(0))
        self.series = {}        # (workload, allocator) -> [[ms, rss KiB, live KiB], ...]
        self.histograms = {}    # allocator -> {ns: samples}

    def tool(self, name):
        return os.path.join(self.out, name)

    def once(self, workload, alloc, count_calls=False):
        """One run; returns {metric: number}, `value` being what is compared."""
        if workload.group == "latency":
            return self.latency(alloc)
        if workload.group == "start":
            return self.start(alloc)
        return self.program(workload, alloc, count_calls)

    def program(self, workload, alloc, count_calls):
        argv = workload.argv
        if workload.group in ("pages", "pairs"):
            argv = [self.tool("bench_pairs"), "-t", "40", "-m", alloc.path or "system",
                    workload.name]
        command = [self.tool("bench_run"), "-o", self.scratch, "-t", str(workload.timeout)]
        for item in [*alloc.env_list, *workload.env]:
            command += ["-e", item]
        preload = alloc.path or (alloc.libc if workload.group == "programs" else None)
        if preload:
            command += ["-p", preload]
        if workload.threads == 1:
            command += ["-c", str(self.cpu)]
        if count_calls:
            command.append("-s")
        if workload.client:
            command += ["-w", workload.client]
        r = {k: float(v) for k, v in words(run([*command, "--", *argv])).items()}
        result = {"cpu_ms": (r["user"] + r["sys"]) / 1e3, "wall_ms": r["wall"] / 1e3,
                  "rss_kib": r["rss"], "faults": r["minor"] + r["major"],
                  "switches": r["voluntary"] + r["forced"]}
        if count_calls and r["syscalls"] >= 0:
            result["syscalls"] = r["syscalls"]
        result["value"] = result["cpu_ms"]
        self.read_output(workload, alloc, result)
        return result

    def read_output(self, workload, alloc, result):
        if workload.group not in ("pages", "pairs", "kernels", "memory"):
            return
        with open(self.scratch, encoding="utf-8", errors="replace") as f:
            text = f.read()
        if workload.group in ("pages", "pairs"):
            result["value"] = float(words(text)["med"])
        rows = [[float(w) for w in line.split()[1:]] for line in text.splitlines()
                if line.startswith("rss ")]
        if rows:
            self.series.setdefault((workload.name, alloc.name), rows)

    def start(self, alloc):
        command = [self.tool("bench_start")]
        for item in alloc.env_list:
            command += ["-e", item]
        if alloc.path:
            command += ["-p", alloc.path]
        r = words(run([*command, "-n", START_COUNT, "/bin/true"]))
        size = words(run([*command, "-r", "/bin/true"]))
        ms = float(r["cpu_mean"]) / 1e3
        return {"value": ms, "cpu_ms": ms, "wall_ms": float(r["wall_mean"]) / 1e3,
                "rss_kib": float(size["peak"])}

    def latency(self, alloc):
        env = dict(item.split("=", 1) for item in alloc.env_list)
        if alloc.path:
            env["LD_PRELOAD"] = alloc.path
        r = subprocess.run([self.tool("bench_latency"), "-n", str(LATENCY_SAMPLES), "malloc"],
                           env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True,
                           timeout=180)
        if r.returncode:
            raise Failed(r.stderr.strip() or f"exit status {r.returncode}")
        counts = self.histograms.setdefault(alloc.name, {})
        scale, mine = 1.0, {}
        for line in r.stdout.splitlines():
            w = line.split()
            if w[0] == "ticks_per_us":
                scale = 1000 / float(w[1])
            elif w[0] == "h" and int(w[2]):
                ns = round(int(w[1]) * scale)
                counts[ns] = counts.get(ns, 0) + int(w[2])
                mine[ns] = mine.get(ns, 0) + int(w[2])
        if not mine:
            raise Failed("no quiet chunk: the machine is too busy")
        return {"value": stats.percentile(mine, 0.9999)}


class Progress:
    """Runs done, and the time left by what each cell took before."""

    def __init__(self):
        self.total = 0
        self.done = 0
        self.begin = time.monotonic()
        self.told = 0
        self.cost = {}

    def step(self, cell, seconds, left, what):
        self.done += 1
        self.cost[cell] = seconds
        mean = sum(self.cost.values()) / len(self.cost)
        rest = sum(n * self.cost.get(c, mean) for c, n in left.items())
        now = time.monotonic()
        if sys.stderr.isatty():
            end = "\r"
        elif now - self.told < 15 and self.done < self.total:
            return
        else:
            end = "\n"
        self.told = now
        print(f"\r\033[K" if end == "\r" else "", end="", file=sys.stderr)
        print(f"# {self.done}/{self.total} runs, {(now - self.begin) / 60:.1f} min, about "
              f"{rest / 60:.1f} min left: {what}", end=end, file=sys.stderr, flush=True)


def order_of(allocators, rnd):
    shift = (rnd // 2) % len(allocators) if rnd > 0 else 0
    order = allocators[shift:] + allocators[:shift]
    return order[::-1] if rnd % 2 else order


def plan(workloads, allocators, repeat):
    """(workload, allocator, round) in order; round -1 warms up and counts system calls."""
    for rnd in range(-1, repeat):
        for w in workloads:
            if w.group in ("memory", "latency") and rnd != 0:
                continue
            if w.group == "start" and rnd < 0:
                continue
            if w.group == "curves" and rnd < 0:
                continue
            for a in order_of(allocators, rnd):
                yield w, a, rnd


def is_wide(cells):
    """Would other rounds have told another ratio?  By the width of the interval alone,
    never by where it lies."""
    ratio = stats.ratio(*(cells.get(name, {}).get("value", {}) for name in (SUBJECT, RIVAL)))
    if not ratio or not ratio["interval"]:
        return False
    low, high = ratio["interval"]
    return high - low > WIDE * ratio["median"]


def unsettled(workloads, data):
    """Those that another round would tell more about; a curve as a whole."""
    wide = {w.family for w in workloads
            if w.group in MORE_GROUPS and is_wide(data.get(w.name, {}))}
    return [w for w in workloads if w.group in MORE_GROUPS and w.family in wide]


def measure(runner, workloads, allocators, repeat):
    """Returns ({workload: {allocator: {metric: {round: number}}}}, failures)."""
    jobs = list(plan(workloads, allocators, repeat))
    progress, data, failures = Progress(), {}, {}
    run_jobs(runner, jobs, progress, data, failures)
    for rnd in range(repeat, MORE * repeat):
        again = unsettled(workloads, data)
        if not again:
            break
        print(f"# round {rnd + 1}, for {len(again)} whose interval is wide", file=sys.stderr)
        jobs = [(w, a, rnd) for w in again for a in order_of(allocators, rnd)]
        run_jobs(runner, jobs, progress, data, failures)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return data, failures


def run_jobs(runner, jobs, progress, data, failures):
    left = {}
    for w, a, _ in jobs:
        left[w.name, a.name] = left.get((w.name, a.name), 0) + 1
    progress.total += len(jobs)
    for w, a, rnd in jobs:
        cell = w.name, a.name
        left[cell] -= 1
        began = time.monotonic()
        if cell not in failures:
            try:
                result = runner.once(w, a, count_calls=rnd < 0)
                mine = data.setdefault(w.name, {}).setdefault(a.name, {})
                for metric, value in result.items():
                    if rnd >= 0 or metric == "syscalls":
                        mine.setdefault(metric, {})[rnd] = value
            except Failed as e:
                failures[cell] = str(e)
                data.get(w.name, {}).pop(a.name, None)
                print(f"# FAILED {w.name} under {a.name}: {e}", file=sys.stderr)
        progress.step(cell, time.monotonic() - began, left, w.name)
