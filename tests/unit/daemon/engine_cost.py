#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the daemon's instructions per request under callgrind and compares them with their limits.

usage: engine_cost.py PATH_TO_ENGINE_COST PATH_TO_REMOTE_COST

A whole turn is counted: scan, read and check, lookup, answer; of a remote request, those of
both daemons, without the fabric (each named function switches counting on, or off inside of
another). Counts hold for a build with
optimisation and without sanitizers; otherwise this is skipped (77).
"""
import pathlib
import re
import shutil
import subprocess
import sys

# program, operation, requests per turn, most instructions per request
LIMITS = [("engine_cost", "get", "16", 150), ("engine_cost", "get", "1", 600),
          ("engine_cost", "put", "16", 200), ("remote_cost", "get", "16", 850),
          ("remote_cost", "put", "16", 900)]


def count(program, operation, group):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
               "--toggle-collect=*measured_turn*", "--toggle-collect=*DirectFabric::poll*",
               "--toggle-collect=*DirectFabric::write*", program, operation, group]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    requests = int(re.search(r"operations (\d+)", done.stdout).group(1))
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1)) / requests


def main():
    programs = {pathlib.Path(path).name: path for path in sys.argv[1:]}
    program = programs["engine_cost"]
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed")
        return 77
    symbols = subprocess.run(["nm", "-D", program], capture_output=True, text=True).stdout
    if "__asan" in symbols or "__tsan" in symbols:
        print("skipped: a sanitizer build")
        return 77
    over = 0
    for name, operation, group, limit in LIMITS:
        instructions = count(programs[name], operation, group)
        ok = 0 < instructions <= limit
        over += not ok
        print(f"{name}: {operation} in groups of {group:>2} {instructions:7.1f} instructions, "
              f"limit {limit}"
              f"{'' if ok else '  OVER'}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
