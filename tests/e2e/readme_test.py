#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Executes the commands of the README and compares their output with what the README shows.

    readme_test.py BUILD_DIRECTORY SOURCE_DIRECTORY [--self-test]

A block fenced as ```sh run is executed; the next block fenced as ```text is its output, where
`...` inside a line stands for any text, and alone on a line for any lines. All blocks run in order
in one shell, in a directory where the tree stands as in a checkout (build/ is BUILD_DIRECTORY),
with a private runtime directory. What the shell left in the background is ended afterwards.
"""
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SECONDS_MAX = 120
FENCE = re.compile(r"^```(\S*)[ ]*(\S*)\n(.*?)^```$", re.M | re.S)


@dataclasses.dataclass
class Block:
    line: int
    commands: str
    expected: str = None


def read_blocks(text):
    blocks = []
    for match in FENCE.finditer(text):
        language, mark, body = match.groups()
        if language == "sh" and mark == "run":
            blocks.append(Block(text[:match.start()].count("\n") + 1, body))
        elif language == "text" and blocks and blocks[-1].expected is None:
            blocks[-1].expected = body
    return blocks


def pattern_of(expected):
    """The regular expression of an output block."""
    parts = []
    for line in expected.splitlines():
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*".join(map(re.escape, line.split("..."))) + r"\n")
    return re.compile("".join(parts) + r"\Z")


def script_of(blocks, directory):
    lines = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT"]
    for index, block in enumerate(blocks):
        lines += [f"echo {index} > {directory}/reached", "{", block.commands.rstrip("\n"),
                  f"}} > {directory}/output.{index} 2>&1"]
    return "\n".join(lines) + "\n"


def check(blocks, tree, directory):
    """Runs the blocks; returns what went wrong, one text each."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COPYKV_")}
    environment["COPYKV_RUNTIME_DIR"] = str(directory / "runtime")
    done = subprocess.run(["bash", "-c", script_of(blocks, directory)], cwd=tree, env=environment,
                          capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    failures = []
    reached = int((directory / "reached").read_text())
    for index, block in enumerate(blocks[:reached + 1]):
        output = (directory / f"output.{index}").read_text()
        if index == reached and done.returncode != 0:
            failures.append(f"line {block.line}: code {done.returncode}; it said:\n{output}")
        elif block.expected is not None and not pattern_of(block.expected).match(output):
            failures.append(f"line {block.line}: expected\n{block.expected}but it said\n{output}")
    return failures


def run(text, build, source):
    blocks = read_blocks(text)
    if not blocks:
        return ["no block is marked ```sh run"]
    with tempfile.TemporaryDirectory(prefix="copykv-readme-") as name:
        directory = pathlib.Path(name)
        tree = directory / "tree"
        tree.mkdir()
        for entry in source.iterdir():
            if entry.name != "build":
                (tree / entry.name).symlink_to(entry)
        (tree / "build").symlink_to(build)
        return check(blocks, tree, directory)


CANARIES = [  # a README, and whether it must pass
    ("```sh run\necho a; sleep 60 &\n```\n```text\na\n```\n", True),
    ("```sh run\nX=5\n```\n```sh run\necho v$X w\n```\n```text\nv... w\n```\n", True),
    ("```sh run\nprintf '1\\n2\\n3\\n'\n```\n```text\n...\n3\n```\n", True),
    ("```sh\nfalse\n```\n```sh run\ntrue\n```\n", True),
    ("```sh run\necho a\n```\n```text\nb\n```\n", False),
    ("```sh run\nprintf '1\\n2\\n'\n```\n```text\n1\n```\n", False),
    ("```sh run\nfalse\n```\n", False),
    ("nothing to run\n", False),
]


def self_test(build, source):
    return [f"canary {index} should have {'passed' if good else 'failed'}"
            for index, (text, good) in enumerate(CANARIES)
            if (run(text, build, source) == []) != good]


def main():
    build, source = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    if "--self-test" in sys.argv:
        failures = self_test(build, source)
    else:
        failures = run((source / "README.md").read_text(), build, source)
    print("\n".join(failures) or "the README does what it says")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
