#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions of copyrpc's own code over rc or dc, without the device.

    instructions.py PATH/verbs_numbers rc|dc [--batch-max N] [--message-max N]

For one batch: to post it, to end it, to poll for both ends. For one message (a call or its answer)
that shares a batch with others: to stage it, and to take it at the other end. Counted by callgrind:
what functions of copyrpc execute, and what they call in libc; not the emulated device. Differences
of runs of different length, so that setting up cancels out. Exit 77 without valgrind.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SHORT, LONG = 2_000, 12_000
FEW, MANY = 1, 33  # messages in a batch


def part_of_post(name):
    """To post, to end (the poster's completions), to poll (both ends); None: not copyrpc's."""
    if not name.startswith("copyrpc::"):
        return None
    if any(part in name for part in ("::completed", "::ended", "::end_through", "::end_post")):
        return "end"
    if any(part in name for part in ("::poll(", "::take(", "ReceiveQueue", "SideChannel",
                                     "progress")):
        return "poll"
    return "post"


STAGES = ("stage_calls", "take_calls", "stage_answers", "take_answers")


def part_of_message(name):
    """One of the functions of verbs_numbers; the loop around each message counts, too."""
    found = re.match(r"numbers::\(anonymous namespace\)::(\w+)\(", name)
    return found[1] if found and found[1] in STAGES else None


def own_instructions(path, part_of):
    """By part: the cost of our functions themselves, and of what they call in libc."""
    names, totals = {}, {}
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
                counted = counted or part in STAGES  # all that they call
        elif line.startswith("calls="):
            pending = True
        elif re.match(r"[+\-*\d]", line):
            if part and (not pending or counted):
                totals[part] = totals.get(part, 0) + int(line.split()[1])
            pending = False
    return totals


class Counter:
    def __init__(self, program, transport, folder):
        self.program, self.transport = program, transport
        self.folder = pathlib.Path(folder)

    def run(self, what, count, per_turn, part_of):
        out = self.folder / f"{what}-{count}-{per_turn}.out"
        subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
                        self.program, self.transport, what, str(count), str(per_turn)],
                       check=True, capture_output=True, timeout=120)
        return own_instructions(out, part_of)

    def each(self, what, per_turn, part_of):
        """Of one post or turn, by part."""
        short, long = (self.run(what, count, per_turn, part_of) for count in (SHORT, LONG))
        return {part: (long[part] - short.get(part, 0)) / (LONG - SHORT) for part in long}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("transport", choices=("rc", "dc"))
    parser.add_argument("--batch-max", type=float, default=350, help="to post a batch alone")
    parser.add_argument("--message-max", type=float, default=80,
                        help="for a message more, at one of its ends")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("valgrind is not installed")
        return 77
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        counter = Counter(arguments.program, arguments.transport, folder)
        for per_turn in (1, 4):
            each = counter.each("posts", per_turn, part_of_post)
            worst = max(worst, each["post"])
            ends = each.get("end", 0)  # of rc they are part of polling
            print(f"{per_turn} in a turn, instructions for each batch over {arguments.transport}, "
                  f"without the device: {each['post']:.0f} to post, {ends:.0f} to end, "
                  f"{each['poll']:.0f} to poll at both ends")
        few, many = (counter.each("messages", count, part_of_message) for count in (FEW, MANY))
    print(f"to post: at most {arguments.batch_max:.0f}")
    each = {stage: (many[stage] - few[stage]) / (MANY - FEW) for stage in STAGES}
    told = ", ".join(f"{count:.0f} to {stage.replace('_', ' ')[:-1]}"
                     for stage, count in each.items())
    print(f"instructions for each message more in a batch: {told}; "
          f"at most {arguments.message_max:.0f} each")
    return 0 if worst <= arguments.batch_max and max(each.values()) <= arguments.message_max else 1


if __name__ == "__main__":
    sys.exit(main())
