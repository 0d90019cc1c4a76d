# SPDX-License-Identifier: MIT
"""Medians, spread, ratios and their confidence."""
import math
import random
import statistics

RESAMPLES = 2000


def summary(values):
    values = sorted(values)
    q1, mid, q3 = (statistics.quantiles(values, n=4, method="inclusive")
                   if len(values) > 1 else values * 3)
    return {"median": mid, "q1": q1, "q3": q3, "min": values[0], "max": values[-1],
            "n": len(values)}


def interval(values, statistic=statistics.median, seed=1):
    """95 % confidence interval by the bootstrap, percentile method."""
    if len(values) < 2:
        return None
    rng = random.Random(seed)
    found = sorted(statistic(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return [found[int(RESAMPLES * 0.025)], found[int(RESAMPLES * 0.975) - 1]]


def ratios(ours, theirs):
    """Within a round: the two ran a moment after each other.  Both: {round: value}."""
    return [ours[r] / theirs[r] for r in sorted(ours) if theirs.get(r)]


def ratio(ours, theirs):
    values = ratios(ours, theirs)
    if not values:
        return None
    return {"median": statistics.median(values), "interval": interval(values), "rounds": values}


def geometric_mean(values):
    values = [v for v in values if v and v > 0]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def geometric(table, seed=2):
    """Geometric mean of the medians of each list of @table; its interval resamples the
    rounds of each workload, so it says what this machine's noise does, and nothing of
    what other workloads would show."""
    table = [t for t in table if t]
    if not table:
        return None
    rng = random.Random(seed)
    mid = geometric_mean([statistics.median(t) for t in table])
    found = sorted(geometric_mean([statistics.median(rng.choices(t, k=len(t))) for t in table])
                   for _ in range(500))
    return {"mean": mid, "interval": [found[12], found[487]], "workloads": len(table)}


def percentile(counts, q):
    """Of {value: how many}: the smallest value that at least the part @q does not exceed."""
    need = math.ceil(q * sum(counts.values()))
    have = 0
    for value in sorted(counts):
        have += counts[value]
        if have >= need:
            return value
    return None
