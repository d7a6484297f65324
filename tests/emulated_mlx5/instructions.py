#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions of copyrpc's own code for one batch over dc, without the device.

    instructions.py PATH/dc_numbers [--max N]

Counted by callgrind: what functions of copyrpc execute, and what they call in libc; not the
emulated device. Two runs of different length, so that setting up cancels out. Exit 77 without
valgrind.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SHORT, LONG = 2_000, 12_000


def part_of(name):
    """To post, to end (the poster's completions), to poll (both ends); None: not copyrpc's."""
    if not name.startswith("copyrpc::"):
        return None
    if any(part in name for part in ("::completed", "::end_through", "::end_post")):
        return "end"
    if any(part in name for part in ("::poll(", "ReceiveQueue", "SideChannel", "progress")):
        return "poll"
    return "post"


def own_instructions(path):
    """By part: the cost of copyrpc's functions themselves, and of what they call in libc."""
    names, totals = {}, {"post": 0, "end": 0, "poll": 0}
    part = None
    counted = pending = False
    for line in path.read_text().splitlines():
        found = re.match(r"(c?fn)=\((\d+)\)(?: (.*))?", line)
        if found:
            if found[3]:
                names[found[2]] = found[3]
            name = names[found[2]]
            if found[1] == "fn":
                part = part_of(name)
            else:
                counted = part_of(name) is None and "emulated_mlx5::" not in name
                counted = counted and not name.startswith(("ibv_", "mlx5dv_"))
        elif line.startswith("calls="):
            pending = True
        elif re.match(r"[+\-*\d]", line):
            if part and (not pending or counted):
                totals[part] += int(line.split()[1])
            pending = False
    return totals


def run(program, count, per_turn, folder):
    out = pathlib.Path(folder) / f"{count}.out"
    subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
                    program, "posts", str(count), str(per_turn)],
                   check=True, capture_output=True, timeout=120)
    return own_instructions(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--max", type=float, default=350, help="to post a batch alone")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("valgrind is not installed")
        return 77
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        for per_turn in (1, 4):
            short = run(arguments.program, SHORT, per_turn, folder)
            long = run(arguments.program, LONG, per_turn, folder)
            each = {part: (long[part] - short[part]) / (LONG - SHORT) for part in long}
            worst = max(worst, each["post"])
            print(f"{per_turn} in a turn, instructions for each batch over dc, without the device: "
                  f"{each['post']:.0f} to post, {each['end']:.0f} to end, "
                  f"{each['poll']:.0f} to poll at both ends")
    print(f"to post: at most {arguments.max:.0f}")
    return 0 if worst <= arguments.max else 1


if __name__ == "__main__":
    sys.exit(main())
