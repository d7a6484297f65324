#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a text file as a C++ source with one constant.

    embed_text.py FILE NAMESPACE CONSTANT > OUTPUT
"""
import pathlib
import sys


def main():
    path, namespace, constant = sys.argv[1:4]
    text = pathlib.Path(path).read_text(encoding="utf-8")
    print(f'namespace {namespace} {{\nextern const char* const {constant};\n'
          f'const char* const {constant} = R"text({text})text";\n}}')


if __name__ == "__main__":
    main()
