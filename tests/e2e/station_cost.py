#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What sampling costs: pairs of runs with and without benchkv --stations, in alternating order.

    station_cost.py [--pairs N] [--every N] [--limit PERCENT] [-- BENCHKV FLAGS]
    $COPYKV_BUILD_ROOT names the build

Prints how the processor time of an operation (ranks, clients, start and end included) and the rate
change, as medians over the pairs with the interval that holds the true median with at least 95 %.
Processor time is what a machine shared with others still tells. Exit 1: the whole interval of the
processor time is beyond the limit.
"""
import argparse
import json
import math
import os
import pathlib
import resource
import statistics
import subprocess
import sys

BUILD = pathlib.Path(os.environ.get("COPYKV_BUILD_ROOT", "build"))
FLAGS = ["--ranks", "2", "--client-threads", "4", "--transport", "ofi-tcp", "--duration", "2",
         "--warmup", "0"]


def interval(values):
    """Of the median, from order statistics: the narrowest with 95 %, or all there is."""
    ordered = sorted(values)
    n = len(ordered)
    for skip in range((n - 1) // 2, 0, -1):
        outside = 2 * sum(math.comb(n, i) for i in range(skip)) / 2 ** n
        if outside <= 0.05:
            return ordered[skip - 1], ordered[n - skip]
    return ordered[0], ordered[-1]


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(every, flags):
    """The run of a document, with the processor time of an operation."""
    before = processor_seconds()
    done = subprocess.run([BUILD / "bench" / "benchkv", "run", *flags, "--json", "-", "--stations",
                           str(every)], capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        sys.exit(f"benchkv ended with code {done.returncode}:\n{done.stderr}")
    document = json.loads(done.stdout)
    measured = document["runs"][0]
    measured["processor_us"] = 1e6 * (processor_seconds() - before) / measured["operations"]
    measured["commit"] = document["host"]["commit"]
    return measured


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--every", type=int, default=64)
    parser.add_argument("--limit", type=float, default=2.0)
    parser.add_argument("flags", nargs="*")
    options = parser.parse_args()
    pairs = []
    for number in range(options.pairs):
        order = (0, options.every) if number % 2 == 0 else (options.every, 0)
        runs = {every: run(every, options.flags or FLAGS) for every in order}
        pairs.append((runs[0], runs[options.every]))
    changes = {}
    for name in ("processor_us", "ops_per_second"):
        changes[name] = [100 * (b[name] / a[name] - 1) for a, b in pairs]
        low, high = interval(changes[name])
        print(f"{name}: {statistics.median(a[name] for a, _ in pairs):.4g}, "
              f"{statistics.median(changes[name]):+.2f} % with --stations {options.every} "
              f"({low:+.2f} to {high:+.2f}, {options.pairs} pairs)")
    stations = [b["stations"] for _, b in pairs]
    print(f"sampled {sum(s['sampled'] for s in stations)}, lost "
          f"{sum(s['lost'] for s in stations)}; load {os.getloadavg()[0]:.1f} at the end, "
          f"{os.cpu_count()} cores, commit {pairs[0][0]['commit']}")
    if interval(changes["processor_us"])[0] > options.limit:
        sys.exit(f"sampling costs more than {options.limit} %")


if __name__ == "__main__":
    main()
