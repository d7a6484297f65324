#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/check must count a failure as a failure: runs it over small projects of known outcome.

    check_test.py SOURCE_DIRECTORY
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HEAD = "project('small', 'cpp')\npython = find_program('python3')\n"
TEST = "test('{0}', python, args: ['-c', '''{1}'''], suite: 'unit')\n"
PASS = ("passes", "pass")
FAIL = ("fails", "raise SystemExit('the reason')")
SKIP = ("skips", "print('no device here'); raise SystemExit(77)")

# Tests of the project, exit code, last line, and a text that the output must hold.
CASES = [
    ([PASS, PASS], "", 0, "3 passed, 0 failed, 0 skipped", "release build: ok"),
    ([PASS, FAIL], "", 1, "2 passed, 1 failed, 0 skipped", "the reason"),
    ([PASS, SKIP], "", 0, "2 passed, 0 failed, 1 skipped", "skips1: no device here"),
    ([PASS], "error('bad')\n", 1, "0 passed, 1 failed, 0 skipped", "release configure"),
    ([], "test('b', executable('b', 'b.cpp'), suite: 'unit')\n", 1, "0 passed, 1 failed, 0 skipped",
     "release build"),
]


def run_case(source, tests, extra):
    with tempfile.TemporaryDirectory(prefix="copykv-check-") as name:
        root = pathlib.Path(name)
        (root / "tools" / "lib").mkdir(parents=True)
        shutil.copy(source / "tools" / "check", root / "tools")
        shutil.copy(source / "tools" / "lib" / "run_checks.py", root / "tools" / "lib")
        named = [TEST.format(f"{name}{index}", code) for index, (name, code) in enumerate(tests)]
        (root / "meson.build").write_text(HEAD + "".join(named) + extra)
        (root / "b.cpp").write_text("int main() { return }\n")
        # The outer test runner's settings are not this project's.
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MESON", "NINJA"))}
        return subprocess.run([root / "tools" / "check", "--quick", "--no-install"], env=clean,
                              capture_output=True, text=True, check=False)


def main():
    source = pathlib.Path(sys.argv[1])
    failures = []
    for tests, extra, code, last_line, text in CASES:
        done = run_case(source, tests, extra)
        if (done.returncode, done.stdout.splitlines()[-1:]) != (code, [last_line]) \
                or text not in done.stdout:
            failures.append(f"expected code {code}, '{last_line}' and '{text}', got code "
                            f"{done.returncode} and\n{done.stdout}{done.stderr}")
    print("\n".join(failures) or f"{len(CASES)} small projects counted as they should be")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
