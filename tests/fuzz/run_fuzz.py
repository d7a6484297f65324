#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one fuzz target for $COPYKV_FUZZ_SECONDS (default 3), beginning with its corpus.

    run_fuzz.py libfuzzer|replay|canary PROGRAM CORPUS
    run_fuzz.py planted PROGRAM CORPUS WORDS

New inputs of libFuzzer stay in a directory beside the program. A failing input is kept there and
named in the last line. `canary`: the target damages a value itself and must say so.
`planted`: the program has a bug, and must end with these words.
"""
import os
import pathlib
import subprocess
import sys

SECONDS_BY_DEFAULT = "3"


def main() -> int:
    kind, program, corpus = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    seconds = os.environ.get("COPYKV_FUZZ_SECONDS", SECONDS_BY_DEFAULT)
    environment = {"COPYKV_LOG": "error", **os.environ, "COPYKV_FUZZ_SECONDS": seconds}
    command = [str(program)]
    if kind == "libfuzzer":
        found = program.with_name(program.name + ".found")
        found.mkdir(exist_ok=True)
        command += [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20",
                    "-print_final_stats=1", f"-artifact_prefix={found}/crash-", str(found)]
    if kind == "canary":
        environment["COPYKV_FUZZ_CANARY"] = "1"
        done = subprocess.run([*command, corpus], env=environment, capture_output=True,
                              check=False)
        found = done.returncode != 0 and b"reads what it wrote" in done.stderr
        print("the damaged value was noticed" if found else "the damaged value was not noticed")
        return 0 if found else 1
    if kind == "planted":
        done = subprocess.run([*command, corpus], env=environment, capture_output=True,
                              check=False)
        found = done.returncode != 0 and sys.argv[4].encode() in done.stderr
        print(f"the planted bug was {'' if found else 'not '}found: {sys.argv[4]}")
        return 0 if found else 1
    return subprocess.run([*command, corpus], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
