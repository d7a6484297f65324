#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What sampling costs: pairs of runs with and without benchkv --stations, in alternating order.

    station_cost.py [--pairs N] [--every N] [--limit PERCENT] [-- BENCHKV FLAGS]
    $COPYKV_BUILD_ROOT names the build

Prints the loss of rate, and of the median latency, as medians over the pairs with the interval that
holds the true median with at least 95 %. Exit 1: the whole interval of the rate is beyond the limit.
"""
import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

BUILD = pathlib.Path(os.environ.get("COPYKV_BUILD_ROOT", "build"))
FLAGS = ["--ranks", "2", "--client-threads", "4", "--transport", "ofi-tcp", "--duration", "2",
         "--warmup", "0.5"]


def interval(values):
    """Of the median, from order statistics: the narrowest with 95 %, or all there is."""
    ordered = sorted(values)
    n = len(ordered)
    for skip in range((n - 1) // 2, 0, -1):
        outside = 2 * sum(math.comb(n, i) for i in range(skip)) / 2 ** n
        if outside <= 0.05:
            return ordered[skip - 1], ordered[n - skip]
    return ordered[0], ordered[-1]


def measure(pairs, every, flags):
    """Points in the order of the runs: without, with, with, without, ..."""
    order = [value for pair in range(pairs)
             for value in ((0, every) if pair % 2 == 0 else (every, 0))]
    done = subprocess.run([BUILD / "bench" / "benchkv", "sweep", *flags, "--json", "-",
                           "--stations", ",".join(str(value) for value in order)],
                          capture_output=True, text=True, check=False, timeout=3600)
    if done.returncode != 0:
        sys.exit(f"benchkv ended with code {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)["points"]


def figure(points, value):
    """Changes in percent, pair by pair."""
    changes = []
    for first, second in zip(points[::2], points[1::2]):
        without, with_stations = sorted((first, second), key=lambda p: p["config"]["stations"])
        changes.append(100 * (value(with_stations) / value(without) - 1))
    return changes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--every", type=int, default=64)
    parser.add_argument("--limit", type=float, default=2.0)
    parser.add_argument("flags", nargs="*")
    options = parser.parse_args()
    points = measure(options.pairs, options.every, options.flags or FLAGS)
    rates = figure(points, lambda p: p["runs"][0]["ops_per_second"])
    p50s = figure(points, lambda p: p["runs"][0]["latency_ns"]["all"]["p50"])
    for name, changes in (("rate", rates), ("p50", p50s)):
        low, high = interval(changes)
        print(f"{name}: {statistics.median(changes):+.2f} % with --stations {options.every} "
              f"({low:+.2f} to {high:+.2f}, {options.pairs} pairs)")
    lost = sum(p["runs"][0]["stations"]["lost"] for p in points if p["config"]["stations"])
    sampled = sum(p["runs"][0]["stations"]["sampled"] for p in points if p["config"]["stations"])
    print(f"sampled {sampled}, lost {lost}; load {os.getloadavg()[0]:.1f} at the end, "
          f"{os.cpu_count()} cores, commit {points[0]['host']['commit']}")
    if interval(rates)[1] < -options.limit:
        sys.exit(f"sampling costs more than {options.limit} %")


if __name__ == "__main__":
    main()
