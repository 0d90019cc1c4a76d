# SPDX-License-Identifier: MIT
"""From measurements to the results: one JSON document, and Markdown made from it."""
import stats
from measure import SUBJECT, RIVAL, WIDE

SPEED_GROUPS = ("kernels", "programs")
METRICS = ("cpu_ms", "wall_ms", "rss_kib", "faults", "switches", "syscalls", "value")
QUANTILES = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0))
SETTLED_KIB = 4096


def compare(cells, metric):
    """{allocator: ratio to jemalloc} of one workload."""
    base = cells.get(RIVAL, {}).get(metric)
    if not base:
        return {}
    return {name: stats.ratio(c[metric], base) for name, c in cells.items() if metric in c}


def overall(document, metric, groups):
    result = {}
    for name in document["allocators"]:
        rounds = [w["ratio"][metric][name]["rounds"] for w in document["workloads"]
                  if w["group"] in groups and w["ratio"].get(metric, {}).get(name)]
        result[name] = stats.geometric(rounds)
    return result


def build(machine, allocators, options, workloads, data, failures, runner, seconds):
    document = {"machine": machine, "options": options, "seconds": round(seconds),
                "allocators": {a.name: a.version for a in allocators}, "workloads": [],
                "failures": [{"workload": w, "allocator": a, "why": why}
                             for (w, a), why in failures.items()]}
    for w in workloads:
        cells = data.get(w.name, {})
        document["workloads"].append({
            "name": w.name, "group": w.group, "what": w.what, "unit": w.unit,
            "threads": w.threads,
            "summary": {a: {m: stats.summary(v.values()) for m, v in c.items()}
                        for a, c in cells.items()},
            "ratio": {m: compare(cells, m) for m in ("value", "cpu_ms", "rss_kib")},
            "rounds": {a: {m: list(v.values()) for m, v in c.items()}
                       for a, c in cells.items()}})
    document["overall"] = {
        "cpu": overall(document, "value", SPEED_GROUPS),
        "rss": overall(document, "rss_kib", SPEED_GROUPS),
        "cpu_kernels": overall(document, "value", ("kernels",)),
        "cpu_programs": overall(document, "value", ("programs",)),
        "rss_programs": overall(document, "rss_kib", ("programs",)),
        "pages": overall(document, "value", ("pages",))}
    document["memory"] = [{"workload": w, "allocator": a, "rows": rows}
                          for (w, a), rows in runner.series.items()]
    document["latency"] = {
        a: {"quantiles": {name: stats.percentile(counts, q) for name, q in QUANTILES},
            "histogram": sorted(counts.items())} for a, counts in runner.histograms.items()}
    document["goals"] = goals(document)
    return document


# ---- what must hold ----

def find(document, group):
    return [w for w in document["workloads"] if w["group"] == group]


def median(w, alloc, metric="value"):
    cell = w["summary"].get(alloc, {}).get(metric)
    return cell["median"] if cell else None


def worst(document, groups, metric):
    """The largest ratio to jemalloc: (ratio, workload)."""
    found = [(w["ratio"][metric][SUBJECT]["median"], w["name"]) for w in document["workloads"]
             if w["group"] in groups and w["ratio"].get(metric, {}).get(SUBJECT)]
    return max(found, default=None)


def above_peers(document, cells):
    """Cells in which another is faster: (cell, by what factor, who)."""
    found = []
    for w in cells:
        mine = median(w, SUBJECT)
        others = [(median(w, a), a) for a in document["allocators"]
                  if a != SUBJECT and median(w, a)]
        if mine and others and min(others)[0] < mine:
            found.append((w["name"], mine / min(others)[0], min(others)[1]))
    return found


def told(found):
    return "none" if not found else ", ".join(f"{n} ({a} x{f:.2f})" for n, f, a in found)


def goal_overall(document, key, limit, what, is_to_win):
    mine = document["overall"][key].get(SUBJECT)
    if not mine:
        return
    best = min((v["mean"], a) for a, v in document["overall"][key].items() if v and a != SUBJECT)
    yield what, f"at most {limit}", f"{mine['mean']:.3f}", mine["mean"] <= limit
    if is_to_win:
        yield (f"{what}: below every peer", f"below {best[0]:.3f} ({best[1]})",
               f"{mine['mean']:.3f}", mine["mean"] < best[0])
    else:
        yield (f"{what}: beside the best peer", f"{best[0]:.3f} ({best[1]})",
               f"{mine['mean']:.3f}", None)


def goal_scaling(document):
    walls = {w["name"]: w for w in find(document, "curves")}
    for name in sorted({n.split("@")[0] for n in walls}):
        one, two = walls.get(f"{name}@1"), walls.get(f"{name}@2")
        if not one or not two:
            continue
        gain = {a: median(one, a, "wall_ms") / median(two, a, "wall_ms")
                for a in (SUBJECT, RIVAL)
                if median(one, a, "wall_ms") and median(two, a, "wall_ms")}
        if len(gain) < 2:
            continue
        if gain[RIVAL] >= 1.9:
            yield (f"two threads against one, {name}", "at least 1.9",
                   f"{gain[SUBJECT]:.2f}", gain[SUBJECT] >= 1.9)
        else:
            yield (f"two threads against one, {name}", f"jemalloc gives {gain[RIVAL]:.2f} only",
                   f"{gain[SUBJECT]:.2f}", None)
    one, crowd = walls.get("crowd@1"), walls.get("crowd@64")
    if one and crowd and median(one, SUBJECT, "cpu_ms") and median(crowd, SUBJECT, "cpu_ms"):
        part = median(crowd, SUBJECT, "cpu_ms") / median(one, SUBJECT, "cpu_ms")
        yield ("64 threads, CPU time of that of one", "at most 1.5", f"{part:.2f}", part <= 1.5)


def goal_memory(document):
    for series in document["memory"]:
        if series["allocator"] == SUBJECT and series["workload"] == "burst":
            _, rss, live = series["rows"][-1]
            limit = live * 1.1 + SETTLED_KIB
            yield ("resident 10 s after a burst, KiB", f"at most {limit:.0f}", f"{rss:.0f}",
                   rss <= limit)


def goals(document):
    """(what, goal, measured, held: true, false, or null where it cannot be said)."""
    rows = []
    cells = above_peers(document, find(document, "pages"))
    if find(document, "pages"):
        rows.append(("pages: cells in which a peer is faster", "none", told(cells), not cells))
    hot = [w for w in find(document, "pairs") if w["name"].startswith("pair-")]
    if hot:
        cells = above_peers(document, hot)
        rows.append(("hot pairs of 16, 64, 256 bytes above a peer", "none", told(cells),
                     not cells))
    rows += goal_overall(document, "cpu", 0.85, "CPU time of jemalloc's, geometric mean", True)
    rows += goal_overall(document, "rss", 0.85, "peak RSS of jemalloc's, geometric mean", False)
    for metric, limit, what in (("value", 1.10, "CPU time"), ("rss_kib", 1.25, "peak RSS")):
        top = worst(document, SPEED_GROUPS, metric)
        if top:
            rows.append((f"worst workload of jemalloc's {what}", f"at most {limit:.2f}",
                         f"{top[0]:.2f} ({top[1]})", top[0] <= limit))
    q = {a: v["quantiles"] for a, v in document["latency"].items()}
    if SUBJECT in q and RIVAL in q:
        part = q[SUBJECT]["p99.99"] / max(q[RIVAL]["p99.99"], 1)
        rows.append(("p99.99 of single page calls of jemalloc's", "at most 0.20",
                     f"{part:.3f} ({q[SUBJECT]['p99.99']} of {q[RIVAL]['p99.99']} ns)",
                     part <= 0.2))
        rows.append(("slowest single page call, ns", "at most 1000000",
                     f"{q[SUBJECT]['max']}", q[SUBJECT]["max"] <= 1e6))
    rows += goal_scaling(document)
    rows += goal_memory(document)
    return [list(row) for row in rows]


# ---- Markdown ----

def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def line(cells):
    return "| " + " | ".join(cells) + " |"


def table(head, rows):
    return [line(head), line(["---"] * len(head)), *map(line, rows), ""]


def shown_ratio(r):
    if not r:
        return "-"
    i = r.get("interval")
    return f"{r['median']:.2f}" + (f" ({i[0]:.2f}..{i[1]:.2f})" if i else "")


def ratio_table(document, groups, metric, shown, scale=1.0):
    names = [a for a in document["allocators"] if a != RIVAL]
    rows = []
    for w in document["workloads"]:
        if w["group"] not in groups or not w["ratio"].get(metric):
            continue
        base = median(w, RIVAL, metric)
        cells = [f"{w['name']} ({w['threads']})", number(base * scale if base else None)]
        for a in names:
            r = w["ratio"][metric].get(a)
            cells.append(shown_ratio(r) if a == SUBJECT else f"{r['median']:.2f}" if r else "-")
        rows.append(cells)
    return table(["workload (threads)", f"jemalloc, {shown}", *names], rows) if rows else []


def absolute_table(document, groups):
    names = list(document["allocators"])
    rows = [[w["name"], *(number(median(w, a)) for a in names),
             shown_ratio(w["ratio"]["value"].get(SUBJECT))]
            for w in document["workloads"] if w["group"] in groups and w["summary"]]
    return table(["ns per pair", *names, f"{SUBJECT} of jemalloc"], rows) if rows else []


def counts_table(document):
    rows = []
    for w in document["workloads"]:
        if w["group"] not in SPEED_GROUPS:
            continue
        rows.append([w["name"], *(number(median(w, a, m)) for m in ("faults", "syscalls")
                                  for a in (RIVAL, SUBJECT, "glibc"))])
    return table(["workload", "faults: jemalloc", "labyrinth", "glibc",
                  "system calls: jemalloc", "labyrinth", "glibc"], rows) if rows else []


def rounds(document):
    least = document["options"]["repeat"]
    counts = {w["name"]: len(w["rounds"].get(SUBJECT, {}).get("value", ()))
              for w in document["workloads"]}
    more = {n: c for n, c in counts.items() if c > least}
    text = f"{least} rounds"
    if more:
        text += (f", more of those whose interval was wider than {WIDE:.0%} ("
                 + ", ".join(f"{n} {c}" for n, c in sorted(more.items())) + ")")
    return text


def markdown(document):
    m = document["machine"]
    out = ["# Labyrinth beside other allocators", "",
           f"{m['cpu']}, {m['cpus']} CPUs, Linux {m['kernel']}, {m['libc']}, transparent huge "
           f"pages {m['thp']}, load {m['load'][0]} at the start; commit {m['commit']}, "
           f"{m['date']}; {rounds(document)}, {document['seconds']} s.", "",
           "; ".join(f"{a}: {v}" for a, v in document["allocators"].items()) + ".", "",
           "Medians of interleaved rounds. Ratios are taken within a round, to jemalloc; in "
           "parentheses the 95 % interval of the median by the bootstrap. CPU time is user and "
           "system time of all processes of the workload (wait4); peak RSS is ru_maxrss; system "
           "calls are counted in the warm-up run by the tracepoint raw_syscalls:sys_enter.", ""]
    out += ["## What must hold", ""]
    out += table(["", "goal", "measured", ""],
                 [[a, b, c, {True: "held", False: "**missed**", None: "-"}[d]]
                  for a, b, c, d in document["goals"]])
    out += ["## Geometric means, of jemalloc's", ""]
    keys = [("cpu", "CPU time, kernels and programs"), ("rss", "peak RSS, kernels and programs"),
            ("cpu_kernels", "CPU time, kernels"), ("cpu_programs", "CPU time, programs"),
            ("rss_programs", "peak RSS, programs"), ("pages", "pages, ns")]
    names = list(document["allocators"])
    out += table(["", *names], [[what, *(f"{v['mean']:.3f}" if v else "-" for v in
                                         (document["overall"][k].get(a) for a in names))]
                                for k, what in keys])
    out += ["## Pages: ns per allocation and free, and thread", "",
            *absolute_table(document, ("pages",)),
            "## Small blocks: ns per allocation and free, and thread", "",
            *absolute_table(document, ("pairs",)),
            "## Kernels and programs: CPU time", "",
            *ratio_table(document, (*SPEED_GROUPS, "start"), "value", "ms"),
            "## Kernels and programs: peak RSS", "",
            *ratio_table(document, (*SPEED_GROUPS, "memory", "start"), "rss_kib", "MiB",
                         1 / 1024),
            "## Other numbers of threads: CPU time", "",
            *ratio_table(document, ("curves",), "value", "ms"),
            "## Page faults and system calls", "", *counts_table(document)]
    if document["latency"]:
        out += ["## Single allocations of a page with the first write, ns", ""]
        out += table(["", *(n for n, _ in QUANTILES)],
                     [[a, *(str(v["quantiles"][n]) for n, _ in QUANTILES)]
                      for a, v in document["latency"].items()])
    if document["failures"]:
        out += ["## Failed", ""]
        out += [f"- {f['workload']} under {f['allocator']}: {f['why']}"
                for f in document["failures"]] + [""]
    return "\n".join(out)
