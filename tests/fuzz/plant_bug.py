#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Copies a source with one check taken out: a bug that a fuzzer must find.

    plant_bug.py SOURCE COPY TEXT REPLACEMENT      the text must stand there exactly once
"""
import pathlib
import sys


def main() -> int:
    source, copy, text, replacement = sys.argv[1:5]
    whole = pathlib.Path(source).read_text()
    if whole.count(text) != 1:
        print(f"{source}: '{text}' stands there {whole.count(text)} times", file=sys.stderr)
        return 1
    pathlib.Path(copy).write_text(whole.replace(text, replacement))
    return 0


if __name__ == "__main__":
    sys.exit(main())
