#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Copies a source with one check taken out: a bug that a fuzzer must find.

    plant_bug.py ROOT FILE TEXT REPLACEMENT DIRECTORY COPY

The text must stand exactly once in FILE, which is named as it is included: below ROOT, and so below
DIRECTORY, where a quoted #include finds it first. COPY is it once more, for who compiles it.
"""
import pathlib
import sys


def main() -> int:
    root, file, text, replacement, directory, copy = sys.argv[1:7]
    whole = (pathlib.Path(root) / file).read_text()
    if whole.count(text) != 1:
        print(f"{file}: '{text}' stands there {whole.count(text)} times", file=sys.stderr)
        return 1
    included = pathlib.Path(directory) / file
    included.parent.mkdir(parents=True, exist_ok=True)
    for path in (included, pathlib.Path(copy)):
        path.write_text(whole.replace(text, replacement))
    return 0


if __name__ == "__main__":
    sys.exit(main())
