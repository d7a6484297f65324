#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A test that runs in the guest with Soft-RoCE devices (tools/rxe-guest).

    in_guest.py SOURCE_ROOT SECONDS COMMAND [ARGUMENT...]

Skipped (77), with the reason, only where QEMU or the guest's kernel cannot be had. What the command
itself says of a missing device is a failure: the guest has two. Catch's last line is repeated with
the number of cases that ran.
"""
import pathlib
import re
import subprocess
import sys

SKIPPED = 77


def main():
    root, seconds, command = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    guest = root / "tools" / "rxe-guest"
    probe = subprocess.run([guest, "--probe"], capture_output=True, text=True, check=False)
    if probe.returncode == SKIPPED:
        print((probe.stderr or probe.stdout).strip())
        return SKIPPED
    done = subprocess.run([guest, "--timeout", seconds, "--memory", "3072", "--", *command],
                          stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode == SKIPPED:
        print("the guest's devices cannot be used")
        return 1
    if cases := re.search(r"All tests passed \(.* in (\d+) test cases?\)", done.stdout):
        print(f"{cases[1]} cases ran in the guest")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
