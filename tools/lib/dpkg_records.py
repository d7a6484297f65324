# SPDX-License-Identifier: Apache-2.0
"""Turns a dpkg status file into the JSON lines that `copykv load` reads, one package per line.

    dpkg_records.py STATUS_FILE > packages.jsonl

The key is the package's name, or name:architecture when several records have that name; the value
is the record as it stands in the file.
"""
import collections
import json
import sys


def field(record, name):
    for line in record.split("\n"):
        if line.startswith(name + ": "):
            return line[len(name) + 2:]
    return ""


def split_records(text):
    """Records are separated by an empty line; each keeps its last newline."""
    return [part if part.endswith("\n") else part + "\n" for part in text.split("\n\n") if part]


def keyed(records):
    named = collections.Counter(field(record, "Package") for record in records)
    for record in records:
        name = field(record, "Package")
        yield (name if named[name] == 1 else f"{name}:{field(record, 'Architecture')}"), record


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    # newline="": a carriage return inside a record is part of the value.
    with open(sys.argv[1], encoding="utf-8", newline="") as status_file:
        records = split_records(status_file.read())
    for key, value in keyed(records):
        print(json.dumps({"key": key, "value": value}, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
