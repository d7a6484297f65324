#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts instructions of store operations under callgrind and compares them with their limits.

usage: store_cost.py PATH_TO_STORE_COST

Counts hold for a build without sanitizers and with optimisation; otherwise this is skipped (77).
"""
import re
import shutil
import subprocess
import sys

# name, arguments of store_cost, most instructions per operation (with about 12 of the driver)
LIMITS = [
    ("get", ["get"], 70),
    ("get in groups of 16", ["get-group"], 90),
    ("put over a value", ["put"], 270),
    (NEW_KEY := "put of a new key", ["put-new"], 550),
]
# What growth may add to a put of a new key.
GROWTH_LIMITS = [
    ("split of a bucket of 7 adds", ["put-split", "7"], 600),
    ("split of a chain of 14 adds", ["put-split", "14"], 900),
    ("split of the longest chain (56) adds", ["put-split", "56"], 2000),
]


def count(program, arguments):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
               "--toggle-collect=measured_*", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    operations = int(re.search(r"operations (\d+)", done.stdout).group(1))
    collected = int(re.search(r"Collected : (\d+)", done.stderr).group(1))
    return collected / operations


def main():
    program = sys.argv[1]
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed")
        return 77
    symbols = subprocess.run(["nm", "-D", program], capture_output=True, text=True).stdout
    if "__asan" in symbols or "__tsan" in symbols:
        print("skipped: a sanitizer build")
        return 77
    over = 0
    counted = {}

    def report(name, instructions, limit):
        nonlocal over
        ok = 0 < instructions <= limit
        over += not ok
        print(f"{name:38} {instructions:7.1f} instructions, limit {limit}{'' if ok else '  OVER'}")

    for name, arguments, limit in LIMITS:
        counted[name] = count(program, arguments)
        report(name, counted[name], limit)
    for name, arguments, limit in GROWTH_LIMITS:
        report(name, count(program, arguments) - counted[NEW_KEY], limit)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
