# SPDX-License-Identifier: Apache-2.0
"""Builds in every flavour, runs the tests of each, and counts. Called by tools/check."""
import argparse
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXCERPT_LINES = 30
# A compiler or linker that fails, a sanitizer.
FAILURE_BEGINS = re.compile(
    r"^FAILED: \S|ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|: runtime error: ")
SANITIZER_TIMEOUT_FACTOR = 4
FUZZ_SECONDS_PER_TARGET = 60  # as many targets at a time as there are processors
# Beyond this the kernel may put a mapping where ThreadSanitizer of clang 14 keeps its shadow.
TSAN_RANDOM_BITS_MAX = 28


@dataclasses.dataclass
class Flavour:
    """One build directory, and which tests run in it. `suites` empty: every test."""
    name: str
    directory: str
    compiler: str
    options: list
    suites: list
    build_all: bool = False
    wrapper: list = dataclasses.field(default_factory=list)
    timeout_factor: int = 1


def excerpt(text):
    """Where a compiler or a sanitizer begins to tell of it (neither ends with it), else the end."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if FAILURE_BEGINS.search(line):
            return lines[number:number + EXCERPT_LINES]
    return lines[-EXCERPT_LINES:]


class Tally:
    """What passed, failed and was skipped, with the reasons."""

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def add_pass(self):
        self.passed += 1

    def add_failure(self, name, log_path, text):
        self.failed.append(name)
        shown = "\n".join("    " + line for line in excerpt(text))
        print(f"FAILED {name}; log: {log_path}\n{shown}", flush=True)

    def add_skip(self, name, reason):
        self.skipped.append((name, reason))

    def report(self):
        for name, reason in self.skipped:
            print(f"skipped {name}: {reason}")
        for name in self.failed:
            print(f"failed {name}")
        print(f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped",
              flush=True)
        return 1 if self.failed else 0


def flavours(quick):
    if quick:
        return [Flavour("release", "build", "g++", ["--buildtype=release"], ["unit", "tidy"])]
    # Counting covered edges in this build lets its fuzz targets search instead of guess.
    checked = ["-Ddebug=true", "-Doptimization=1", "-Db_lundef=false"]
    memory = [*checked, "-Db_sanitize=address,undefined", "-Dcpp_args=-fsanitize=fuzzer-no-link"]
    threads = [*checked, "-Db_sanitize=thread"]
    bits = pathlib.Path("/proc/sys/vm/mmap_rnd_bits")
    randomized = bits.exists() and int(bits.read_text()) > TSAN_RANDOM_BITS_MAX
    return [
        Flavour("release", "build", "g++", ["--buildtype=release"], [], build_all=True),
        Flavour("asan", "build-asan", "clang++-14", memory,
                ["unit", "threads", "fuzz", "conformance-emulated"], build_all=True,
                timeout_factor=SANITIZER_TIMEOUT_FACTOR),
        Flavour("tsan", "build-tsan", "clang++-14", threads, ["unit", "threads"],
                wrapper=["setarch", "--addr-no-randomize"] if randomized else [],
                timeout_factor=SANITIZER_TIMEOUT_FACTOR),
    ]


def run_logged(name, command, log_path, tally, environment=None, telling=lambda line: True):
    """Runs one command into a log; counts a failure, prints one line. True: it ended with 0.

    telling picks the lines of the log that a failure shows the last of.
    """
    began = time.monotonic()
    with open(log_path, "w", encoding="utf-8") as log:
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
                              env=environment, check=False).returncode
    seconds = time.monotonic() - began
    print(f"{name}: {'ok' if code == 0 else 'failed'} ({seconds:.0f} s)", flush=True)
    if code != 0:
        lines = log_path.read_text(errors="replace").splitlines()
        tally.add_failure(name, log_path, "\n".join(filter(telling, lines)))
    return code == 0


def build(flavour, tally):
    """Configures (once) and builds; a warning is an error in every flavour."""
    directory = ROOT / flavour.directory
    log_path = ROOT / f"{flavour.directory}.log"
    cache = "ccache " if shutil.which("ccache") else ""
    environment = {**os.environ, "CXX": cache + flavour.compiler}
    if not (directory / "build.ninja").exists():
        shutil.rmtree(directory, ignore_errors=True)
        setup = ["meson", "setup", flavour.directory, *flavour.options]
        if not run_logged(f"{flavour.name} configure", setup, log_path, tally, environment):
            return False
    targets = [] if flavour.build_all else targets_of_tests(directory, flavour.suites)
    command = ["ninja", "-k", "0", "-C", flavour.directory, *targets]
    if not run_logged(f"{flavour.name} build", command, log_path, tally):
        return False
    tally.add_pass()
    log_path.unlink()
    return True


def introspect(directory, what):
    text = subprocess.run(["meson", "introspect", str(directory), what], check=True,
                          capture_output=True).stdout
    return json.loads(text)


def targets_of_tests(directory, suites):
    """The ninja targets that the tests of these suites need."""
    wanted = set()
    for test in introspect(directory, "--tests"):
        if any(suite.split(":")[-1] in suites for suite in test["suite"]):
            wanted.update(test["depends"])
    files = []
    for target in introspect(directory, "--targets"):
        if target["id"] in wanted:
            files += [os.path.relpath(name, directory) for name in target["filename"]]
    return files or ["build.ninja"]


def skip_reason(record):
    """A skipped test says why in the last line that it prints."""
    lines = (record.get("stdout") or record.get("stderr") or "").strip().splitlines()
    return lines[-1] if lines else "no reason given"


def run_tests(flavour, tally):
    directory = ROOT / flavour.directory
    results = directory / "meson-logs" / "testlog.json"
    results.unlink(missing_ok=True)
    command = ["meson", "test", "-C", flavour.directory, "--no-rebuild",
               "--timeout-multiplier", str(flavour.timeout_factor)]
    for suite in flavour.suites:
        command += ["--suite", suite]
    if flavour.name != "release":
        command += ["--no-suite", "counts"]  # instruction counts are limits of the release build
    began = time.monotonic()
    environment = {**os.environ, "ASAN_OPTIONS": "detect_stack_use_after_return=1",
                   "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
                   "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}
    if "fuzz" in flavour.suites:
        environment.setdefault("COPYKV_FUZZ_SECONDS", str(FUZZ_SECONDS_PER_TARGET))
    done = subprocess.run([*flavour.wrapper, *command], cwd=ROOT, env=environment,
                          capture_output=True, check=False)
    if not results.exists():
        tally.add_failure(f"{flavour.name} tests", directory / "meson-logs",
                          (done.stdout + done.stderr).decode(errors="replace"))
        return
    records = [json.loads(line) for line in results.read_text().splitlines()]
    for record in records:
        name = f"{flavour.name}: {record['name'].split(' / ')[-1]}"
        if record["result"] in ("OK", "EXPECTEDFAIL"):
            tally.add_pass()
        elif record["result"] == "SKIP":
            tally.add_skip(name, skip_reason(record))
        else:
            text = (record.get("stdout") or "") + (record.get("stderr") or "")
            tally.add_failure(f"{name} ({record['result'].lower()})",
                              directory / "meson-logs" / "testlog.txt", text)
        for cases in re.findall(r"^\d+ cases ran in the guest$", record.get("stdout") or "", re.M):
            print(f"{name}: {cases}", flush=True)
    seconds = time.monotonic() - began
    print(f"{flavour.name} tests: {len(records)} run ({seconds:.0f} s)", flush=True)


def same_traces(tally):
    """A seed gives the same run whichever compiler built the simulation."""
    arguments = ["--seed", "1", "--seeds", "100", "--operations", "600"]
    traces = []
    for directory in ("build", "build-asan"):
        command = [ROOT / directory / "sim" / "copykv-sim", *arguments]
        if not command[0].exists():
            tally.add_skip("same traces", f"{directory} is not built")
            return
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        traces.append([line for line in done.stdout.splitlines() if line.startswith("seed ")])
    differing = [f"{ours}\n{theirs}" for ours, theirs in zip(*traces) if ours != theirs]
    if differing or len(traces[0]) != 100 or len(traces[1]) != 100:
        log_path = ROOT / "build-same-traces.log"
        log_path.write_text("\n".join(differing), encoding="utf-8")
        tally.add_failure("same traces", log_path, "\n".join(differing) or "not 100 runs each")
        return
    print("same traces: ok (100 seeds)", flush=True)
    tally.add_pass()


def clang_tidy(tally):
    """The short list of .clang-tidy over everything that ships, each file once."""
    log_path = ROOT / "build-clang-tidy.log"
    if not shutil.which("run-clang-tidy"):
        tally.add_skip("clang-tidy", "run-clang-tidy is not installed")
        return
    # What the product and the simulation share is compiled twice, with one meaning.
    once = {}
    commands = json.loads((ROOT / "build-asan" / "compile_commands.json").read_text())
    for entry in commands:
        once.setdefault(entry["file"], entry)
    database = ROOT / "build-clang-tidy"
    database.mkdir(exist_ok=True)
    (database / "compile_commands.json").write_text(json.dumps(list(once.values())))
    command = ["run-clang-tidy", "-quiet", "-p", database.name, "-j", str(os.cpu_count() or 1),
               rf"^{ROOT}/(base|shm|copyrpc|daemon|client|sim|bench|tools|examples)/.*\.cpp$"]
    noise = re.compile(r"^\d+ warnings generated|^clang-tidy-\d+ ")
    if run_logged("clang-tidy", command, log_path, tally,
                  telling=lambda line: not noise.match(line)):
        tally.add_pass()
        log_path.unlink()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    tally = Tally()
    for flavour in flavours(quick):
        if build(flavour, tally):
            run_tests(flavour, tally)
    if not quick:
        same_traces(tally)
        clang_tidy(tally)
    return tally.report()


if __name__ == "__main__":
    sys.exit(main())
