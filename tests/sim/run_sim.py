#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs copykv-sim as a test.

    run_sim.py twice COPYKV_SIM     100 seeds, each twice: the same traces; every fault at once
    run_sim.py seeds COPYKV_SIM     COPYKV_SIM_SEEDS seeds (2,000) of 10,000 operations: no
                                    violation, and every kind of fault at least
                                    COPYKV_SIM_FAULTS_MIN times (1,000)
    run_sim.py planted COPYKV_SIM   each planted bug must be found, and its command must repeat it
"""
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

PROCESSES = min(2, os.cpu_count() or 1)
SEEDS_PER_PLANTED_BUG = 400
SECONDS_MAX = 800
# Which faults bring each bug out soonest; every fault where none is named.
FAULTS_FOR = {
    "no_fence": "store_order,sleep",
    "lost_wakeup": "store_order,sleep",
    "stamp_from_memory": "client_garbage",
    "early_credit": "delay,slow_rank,paused_rank",
    "stale_session": "delay,cut,queue_error,paused_rank",
}


def run(command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=SECONDS_MAX, check=False)


def fail(text):
    print(f"FAILED: {text}")
    return 1


def twice(copykv_sim):
    for arguments in (["--seeds", 88, "--operations", 600],
                      ["--seeds", 6, "--operations", 1500, "--every-fault", "--ranks", 4],
                      ["--seeds", 6, "--operations", 1500, "--faults", "none", "--ranks", 2,
                       "--clients", 4]):
        done = run([copykv_sim, "--seed", 1, "--twice", "--quiet", *arguments])
        print(done.stdout[-3000:] + done.stderr[-2000:])
        if done.returncode != 0:
            return fail("a violation, or two runs of one seed that differ")
    return 0


def run_share(copykv_sim, first, seeds, directory):
    """Some of the seeds in a process of their own; its sums."""
    path = os.path.join(directory, f"{first}.json")
    done = run([copykv_sim, "--seed", first, "--seeds", seeds, "--quiet", "--json", path,
                "--keep", directory])
    return done, json.load(open(path, encoding="utf-8")) if os.path.exists(path) else None


def seeds(copykv_sim):
    total = int(os.environ.get("COPYKV_SIM_SEEDS", "2000"))
    faults_min = int(os.environ.get("COPYKV_SIM_FAULTS_MIN", "1000"))
    first = int(os.environ.get("COPYKV_SIM_FIRST_SEED", "1"))
    share = (total + PROCESSES - 1) // PROCESSES
    faults, operations, run_seeds, code = {}, 0, 0, 0
    with tempfile.TemporaryDirectory() as directory, \
            concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
        shares = [pool.submit(run_share, copykv_sim, first + index * share, share, directory)
                  for index in range(PROCESSES)]
        for each in shares:
            done, sums = each.result()
            if done.returncode != 0 or sums is None:
                print(done.stdout[-6000:] + done.stderr[-2000:])
                code = fail("a violation; the command that repeats it stands above")
            if sums is not None:
                run_seeds += sums["seeds"]
                operations += sums["operations_checked"]
                for name, count in sums["faults"].items():
                    faults[name] = faults.get(name, 0) + count
    print(f"{run_seeds} seeds, {operations} operations checked")
    for name, count in sorted(faults.items()):
        print(f"  {name:<22}{count:>12}")
        if count < faults_min:
            code = fail(f"{name} struck {count} times, {faults_min} are wanted")
    return code


def bugs_of(copykv_sim):
    told = run([copykv_sim, "--planted-bug", "?"]).stderr
    return re.findall(r"^  (\w+)", told, re.MULTILINE)


def find_planted(copykv_sim, bug):
    """Empty when it was found, and found again by the command that the violation gives."""
    faults = FAULTS_FOR.get(bug, "all")
    done = run([copykv_sim, "--seed", 1, "--seeds", SEEDS_PER_PLANTED_BUG, "--quiet", "--faults",
                faults, "--planted-bug", bug])
    violation = re.search(r"^VIOLATION (.*)$", done.stdout, re.MULTILINE)
    repeat = re.search(r"^  copykv-sim (--seed .*)$", done.stdout, re.MULTILINE)
    if done.returncode == 0:
        return f"{SEEDS_PER_PLANTED_BUG} seeds do not notice it"
    if done.returncode != 1 or not violation or not repeat:
        # An assertion of ours has ended the program: the bug was noticed.
        return "" if "assert" in done.stderr.lower() else f"ended with {done.returncode}"
    again = run([copykv_sim, *shlex.split(repeat.group(1))])
    if again.returncode != 1 or violation.group(0) not in again.stdout:
        return f"'{repeat.group(0).strip()}' does not repeat it"
    print(f"{bug:<20}{violation.group(1)}")
    return ""


def planted(copykv_sim):
    bugs = bugs_of(copykv_sim)
    if len(bugs) < 8:
        return fail(f"planted bugs: {bugs}")
    code = 0
    with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
        for bug, missed in zip(bugs, pool.map(lambda bug: find_planted(copykv_sim, bug), bugs)):
            if missed:
                code = fail(f"{bug}: {missed}")
    return code


def main():
    what, copykv_sim = sys.argv[1:3]
    return {"twice": twice, "seeds": seeds, "planted": planted}[what](copykv_sim)


if __name__ == "__main__":
    sys.exit(main())
