#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTML report in a real browser (headless Chromium): it loads without an error on the console,
and every chart shows something where its marks are.

Usage: report_browser_test.py BENCHKV
Exit 77 (skipped) where there is no chromium.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import png  # noqa: E402

SKIPPED = 77
TILE_WIDTH, TILE_HEIGHT, COLUMNS = 320, 260, 4
STYLE = ("svg{width:320px;height:260px;display:block;font:12px sans-serif}"
         "body{margin:0;display:grid;grid-template-columns:repeat(4,320px);background:#fff}")


def browse(browser, directory, page, image, width, height):
    """What the browser says on its console."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--disable-dev-shm-usage", f"--user-data-dir={directory}/profile",
               "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND",
               f"--window-size={width},{height}", f"--screenshot={image}", f"file://{page}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert os.path.exists(image), ended.stderr[-2000:]
    return [line for line in ended.stderr.splitlines() if "CONSOLE" in line]


def colours(rows, pixel, left, top):
    seen = {}
    for row in rows[top:top + TILE_HEIGHT]:
        for x in range(left, left + TILE_WIDTH):
            colour = bytes(row[x * pixel:x * pixel + 3])
            seen[colour] = seen.get(colour, 0) + 1
    return seen


def coloured(seen):
    """Pixels that are neither grey nor white: what charts draw data with, and nothing else."""
    return sum(count for colour, count in seen.items() if max(colour) - min(colour) > 40)


def tiles(browser, directory, charts):
    page = os.path.join(directory, "tiles.html")
    image = os.path.join(directory, "tiles.png")
    with open(page, "w", encoding="utf-8") as file:
        file.write(f"<!DOCTYPE html><meta charset=utf-8><style>{STYLE}</style>" + "".join(charts))
    height = TILE_HEIGHT * ((len(charts) + COLUMNS - 1) // COLUMNS)
    assert browse(browser, directory, page, image, TILE_WIDTH * COLUMNS, height) == []
    _, _, pixel, rows = png.read(image)
    return [coloured(colours(rows, pixel, TILE_WIDTH * (i % COLUMNS), TILE_HEIGHT * (i // COLUMNS)))
            for i in range(len(charts))]


def main():
    browser = shutil.which("chromium")
    if browser is None:
        print("skipped: no chromium (tools/install-deps installs it)")
        return SKIPPED
    benchkv = sys.argv[1]
    with tempfile.TemporaryDirectory() as directory:
        sweep = os.path.join(directory, "sweep.json")
        report = os.path.join(directory, "report.html")
        subprocess.run([benchkv, "sweep", "--backend", "null", "--client-threads", "1,2,3,4",
                        "--duration", "30ms", "--warmup", "0", "--runs", "2", "--histograms",
                        "--quiet", "--slo", "all.p99<1s", "--json", sweep],
                       capture_output=True, timeout=120, check=True)
        subprocess.run([benchkv, "report", "published", sweep, "-o", report], timeout=60,
                       check=True)
        shown = os.path.join(directory, "report.png")
        assert browse(browser, directory, report, shown, 1100, 1400) == [], "console not silent"
        text = pathlib.Path(report).read_text(encoding="utf-8")
        assert "<script" not in text
        charts = re.findall(r"<svg.*?</svg>", text, re.S)
        assert len(charts) >= 10, len(charts)
        # The canary: a chart without its marks has nothing coloured.
        bare = re.sub(r'<(path|rect|circle) class="mark"[^>]*/>', "", charts[0])
        bare = re.sub(r"<rect [^>]*/>", "", bare)
        filled = tiles(browser, directory, charts + [bare])
        assert filled[-1] == 0, f"an empty chart counts {filled[-1]} coloured pixels"
        for chart, pixels in zip(charts, filled):
            name = re.search(r'aria-label="([^"]*)"', chart)[1]
            assert pixels > 30, f"{name}: {pixels} coloured pixels"
    print(f"{len(charts)} charts, {min(filled[:-1])} to {max(filled)} coloured pixels each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
