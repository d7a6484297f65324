#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HdrHistogram logs of benchkv, decoded by an implementation of its own, written from the format's
description (HdrHistogram's log format 1.3, encoding V2) and sharing nothing with ours: the counts
are those of the document.

Usage: hdr_log_test.py BENCHKV
"""
import base64
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib


def zigzag_numbers(payload):
    at = 0
    while at < len(payload):
        number = shift = 0
        while True:
            byte = payload[at]
            at += 1
            if shift == 56:  # the ninth byte is whole
                number |= byte << shift
                break
            number |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        yield (number >> 1) ^ -(number & 1)


def highest_equivalent(index, sub_buckets):
    """The largest value that counts at this index of HdrHistogram's array."""
    half = sub_buckets // 2
    bucket = index // half - 1
    sub = index % half + half
    if bucket < 0:
        bucket, sub = 0, sub - half
    return ((sub + 1) << bucket) - 1


def decode(text):
    """{highest equivalent value: count} of one encoded histogram."""
    data = base64.b64decode(text, validate=True)
    cookie, length = struct.unpack(">II", data[:8])
    assert cookie == 0x1C849304 | 0x10, hex(cookie)
    assert length == len(data) - 8
    raw = zlib.decompress(data[8:])
    cookie, payload_bytes, shift, digits, lowest, _, ratio = struct.unpack(">IIIIQQd", raw[:40])
    assert cookie == 0x1C849303 | 0x10, hex(cookie)
    assert payload_bytes == len(raw) - 40
    assert (shift, lowest, ratio) == (0, 1, 1.0)
    sub_buckets = 1 << (2 * 10 ** digits - 1).bit_length()
    counts, index = {}, 0
    for number in zigzag_numbers(raw[40:]):
        if number < 0:
            index -= number
            continue
        if number > 0:
            counts[highest_equivalent(index, sub_buckets)] = number
        index += 1
    return counts


def intervals(path):
    with open(path, encoding="ascii") as file:
        lines = file.read().splitlines()
    assert lines[0] == "#[Histogram log format version 1.3]", lines[0]
    for line in lines:
        if line.startswith(("#", '"')):
            continue
        start, length, top, encoded = line.split(",")
        yield float(start), float(length), float(top), decode(encoded)


def main():
    with tempfile.TemporaryDirectory() as directory:
        log = os.path.join(directory, "runs.hlog")
        command = [sys.argv[1], "--backend", "null", "--duration", "100ms", "--warmup", "0",
                   "--runs", "3", "--histograms", "--hdr", log, "--json", "-"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        runs = json.loads(ended.stdout)["runs"]
        decoded = list(intervals(log))
    assert len(decoded) == len(runs) == 3
    for (start, length, top, counts), run in zip(decoded, runs):
        latency = run["latency_ns"]["all"]
        assert counts == dict(map(tuple, latency["buckets"])), "counts differ"
        assert sum(counts.values()) == latency["count"] > 0
        assert abs(top * 1e6 - latency["max"]) < 1
        assert abs(length - run["seconds"]) < 0.002 and start >= 0
    # The decoder would notice: a count changed by one is another histogram.
    changed = dict(decoded[0][3])
    changed[next(iter(changed))] += 1
    assert changed != dict(map(tuple, runs[0]["latency_ns"]["all"]["buckets"]))
    print(f"{len(decoded)} intervals, {sum(len(d[3]) for d in decoded)} buckets: identical")


if __name__ == "__main__":
    main()
