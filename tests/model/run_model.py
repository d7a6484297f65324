#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Verifies one Promela model exhaustively, or shows that Spin finds a bug planted in it.

    run_model.py sleep.pml -DASYMMETRIC                      must verify without an error
    run_model.py sleep.pml -DBUG_NO_RECHECK --finds 'invalid end state'

Exit: 0 as expected, 1 not, 77 when Spin is missing.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

MEMORY_MIB_MAX = 2048
DEPTH_MAX = 1_000_000
SKIPPED = 77


def run(command: list[str], where: str) -> str:
    done = subprocess.run(command, cwd=where, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return done.stdout


def verify(model: pathlib.Path, defines: list[str]) -> str:
    """Returns what Spin's verifier printed."""
    with tempfile.TemporaryDirectory(prefix="copykv-model-") as where:
        for source in model.parent.glob("*.pml"):
            shutil.copy(source, where)
        printed = run(["spin", "-a", *defines, model.name], where)
        if not pathlib.Path(where, "pan.c").exists():
            return printed
        # SAFETY: assertions and invalid end states, which is what these models claim.
        printed += run(["cc", "-O2", "-w", "-DSAFETY", f"-DMEMLIM={MEMORY_MIB_MAX}",
                        "-o", "pan", "pan.c"], where)
        return printed + run(["./pan", f"-m{DEPTH_MAX}"], where)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--finds", metavar="REGEX", help="the error that a planted bug must give")
    arguments, defines = parser.parse_known_args()
    if shutil.which("spin") is None:
        print("skipped: spin is missing; run: apt-get install spin")
        return SKIPPED

    printed = verify(arguments.model.resolve(), defines)
    errors = re.search(r"errors: (\d+)", printed)
    states = re.search(r"(\S+) states, stored", printed)
    name = " ".join([arguments.model.name, *defines])
    if errors is None or states is None:
        print(printed, f"{name}: the verifier did not run", sep="\n")
        return 1
    if arguments.finds:
        error = re.search(rf"pan:\d+: (.*{arguments.finds}.*)", printed)
        if error and int(errors[1]) > 0:
            print(f"{name}: found as it must be: {error[1]}")
            return 0
        print(printed, f"{name}: the planted bug was not found", sep="\n")
        return 1
    if int(errors[1]) == 0 and not re.search(r"not completed|truncated|out of memory", printed):
        print(f"{name}: verified, {int(float(states[1])):,} states")
        return 0
    print(printed, f"{name}: not verified", sep="\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
