# SPDX-License-Identifier: Apache-2.0
"""Reads PNG files as a browser writes them (8 bits per channel, not interlaced), from the format's
description (RFC 2083): what the report's test needs and no more."""
import struct
import zlib


def read(path):
    """Returns (width, height, bytes per pixel, rows), each row a bytearray."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
    at, packed, width, height, depth, colour = 8, b"", 0, 0, 0, 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert depth == 8 and not interlaced
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    pixel = {2: 3, 6: 4}[colour]
    return width, height, pixel, _rows(zlib.decompress(packed), width * pixel, height, pixel)


def _rows(raw, stride, height, pixel):
    rows, above = [], bytearray(stride)
    for y in range(height):
        start = y * (stride + 1)
        row = bytearray(raw[start + 1:start + 1 + stride])
        _unfilter(raw[start], row, above, pixel)
        rows.append(row)
        above = row
    return rows


def _unfilter(method, row, above, pixel):
    if method == 0:
        return
    for i, value in enumerate(row):
        left = row[i - pixel] if i >= pixel else 0
        up = above[i]
        if method == 1:
            guess = left
        elif method == 2:
            guess = up
        elif method == 3:
            guess = (left + up) // 2
        else:
            corner = above[i - pixel] if i >= pixel else 0
            estimate = left + up - corner
            guess = min((left, up, corner), key=lambda near: abs(estimate - near))
        row[i] = (value + guess) & 255
