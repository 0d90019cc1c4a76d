# SPDX-License-Identifier: MIT
"""Plots by gnuplot: each once as SVG and once as PNG."""
import os
import subprocess

from results import SUBJECT, find, median

COLOURS = {"glibc": "#7f7f7f", "jemalloc": "#1f77b4", "mimalloc": "#ff7f0e",
           "gperftools": "#2ca02c", "tbbmalloc": "#9467bd", SUBJECT: "#d62728"}
SPARE = ["#8c564b", "#e377c2", "#bcbd22", "#17becf"]


def colour(names, name):
    extra = [n for n in names if n not in COLOURS]
    return COLOURS.get(name) or SPARE[extra.index(name) % len(SPARE)]


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("_", "\\\\_") + '"'


def block(name, rows):
    return [f"${name} << EOD", *(" ".join(map(str, r)) for r in rows), "EOD"]


def draw(directory, name, size, script):
    for terminal, suffix in ((f"svg size {size} enhanced background 'white' font 'sans,12'", "svg"),
                             (f"pngcairo size {size} enhanced font 'sans,10'", "png")):
        text = "\n".join([f"set terminal {terminal}", f"set output '{name}.{suffix}'", *script])
        subprocess.run(["gnuplot"], input=text, text=True, check=True, cwd=directory)
    return name


def bars(document, directory, name, title, groups, metric):
    """Ratios to jemalloc, a cluster per workload."""
    names = [a for a in document["allocators"] if a != "jemalloc"]
    rows = [[quoted(w["name"]), *(w["ratio"][metric][a]["median"]
                                  if w["ratio"][metric].get(a) else "NaN" for a in names)]
            for w in document["workloads"] if w["group"] in groups and w["ratio"].get(metric)]
    if not rows:
        return None
    plots = ", ".join(f"$data using {i + 2}:xtic(1) title {quoted(a)} lc rgb '{colour(names, a)}'"
                      for i, a in enumerate(names))
    return draw(directory, name, f"{max(700, 60 + 34 * len(rows))},480", [
        *block("data", rows), f"set title {quoted(title + ', of jemalloc (below 1: better)')}",
        "set style data histogram", "set style histogram clustered gap 1",
        "set style fill solid 0.9 noborder", "set boxwidth 0.95", "set xtics rotate by -50",
        "set logscale y 2", "set grid ytics", "set key outside top center horizontal",
        f"plot {plots}, 1 with lines lc rgb 'black' dt 2 notitle"])


def curves(document, directory):
    """Throughput over the number of threads, jemalloc with one thread being 1."""
    groups = {}
    for w in find(document, "curves"):
        base, _, n = w["name"].partition("@")
        groups.setdefault(base, []).append((int(n), w))
    made, names = [], list(document["allocators"])
    for base, members in groups.items():
        unit = median(members[0][1], "jemalloc", "wall_ms")
        script, plots = [], []
        for i, a in enumerate(names):
            rows = [(n, unit / median(w, a, "wall_ms")) for n, w in members
                    if unit and median(w, a, "wall_ms")]
            if rows:
                script += block(f"d{i}", rows)
                plots.append(f"$d{i} using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb "
                             f"'{colour(names, a)}' title {quoted(a)}")
        if plots:
            made.append(draw(directory, f"scaling-{base}", "640,420", [
                *script, f"set title {quoted(base + ': throughput by threads (wall time)')}",
                "set logscale x 2", "set xlabel 'threads'", "set yrange [0:*]", "set grid",
                "set ylabel 'jemalloc with one thread = 1'", "set key outside",
                "plot " + ", ".join(plots)]))
    return made


def memory(document, directory):
    made, names = [], list(document["allocators"])
    for workload in sorted({s["workload"] for s in document["memory"]}):
        script, plots, live = [], [], None
        for i, s in enumerate(s for s in document["memory"] if s["workload"] == workload):
            script += block(f"d{i}", s["rows"])
            live = live or f"$d{i} using ($1/1000):($3/1024) with lines dt 2 lc rgb 'black' " \
                           "title 'live'"
            plots.append(f"$d{i} using ($1/1000):($2/1024) with lines lw 2 lc rgb "
                         f"'{colour(names, s['allocator'])}' title {quoted(s['allocator'])}")
        made.append(draw(directory, f"memory-{workload}", "760,440", [
            *script, f"set title {quoted(workload + ': resident memory over time')}",
            "set xlabel 'seconds'", "set ylabel 'MiB'", "set yrange [0:*]", "set grid",
            "set key outside", "plot " + ", ".join([*plots, live])]))
    return made


def latency(document, directory):
    if not document["latency"]:
        return None
    names, script, plots = list(document["allocators"]), [], []
    for i, (a, v) in enumerate(document["latency"].items()):
        total, above, rows = sum(n for _, n in v["histogram"]), 0, []
        for ns, n in reversed(v["histogram"]):
            above += n
            rows.append((max(ns, 1), above / total))
        script += block(f"d{i}", rows[::-1])
        plots.append(f"$d{i} using 1:2 with steps lw 2 lc rgb '{colour(names, a)}' "
                     f"title {quoted(a)}")
    return draw(directory, "latency", "760,440", [
        *script, "set title 'malloc(4096) and the first write: part of the calls that take at "
        "least so long'", "set logscale xy", "set format y '10^{%L}'", "set xlabel 'ns'",
        "set grid", "set key outside", "plot " + ", ".join(plots)])


def histogram(document, directory):
    """The same as a histogram: five bins to a factor of ten."""
    if not document["latency"]:
        return None
    names, script, plots = list(document["allocators"]), [], []
    for i, (a, v) in enumerate(document["latency"].items()):
        bins = {}
        for ns, n in v["histogram"]:
            at = len(str(max(ns, 1))) - 1
            at = at + sum(ns >= 10 ** at * step for step in (1.58, 2.51, 3.98, 6.31)) / 5
            bins[at] = bins.get(at, 0) + n
        script += block(f"d{i}", sorted(bins.items()))
        plots.append(f"$d{i} using (10**$1):2 with fsteps lw 2 lc rgb '{colour(names, a)}' "
                     f"title {quoted(a)}")
    return draw(directory, "latency-histogram", "760,440", [
        *script, "set title 'malloc(4096) and the first write: histogram'", "set logscale xy",
        "set xlabel 'ns'", "set ylabel 'calls'", "set grid", "set key outside",
        "plot " + ", ".join(plots)])


def all_plots(document, directory):
    os.makedirs(directory, exist_ok=True)
    made = [bars(document, directory, "programs-time", "Programs: CPU time", ("programs",),
                 "value"),
            bars(document, directory, "programs-memory", "Programs: peak RSS", ("programs",),
                 "rss_kib"),
            bars(document, directory, "kernels-time", "Kernels: CPU time", ("kernels",), "value"),
            bars(document, directory, "kernels-memory", "Kernels: peak RSS", ("kernels",),
                 "rss_kib"),
            bars(document, directory, "pages", "Pages: ns per pair", ("pages",), "value"),
            bars(document, directory, "small", "Small blocks: ns per pair", ("pairs",), "value"),
            latency(document, directory), histogram(document, directory),
            *curves(document, directory), *memory(document, directory)]
    return [m for m in made if m]
