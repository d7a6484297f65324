# SPDX-License-Identifier: Apache-2.0
"""Stores this machine's package records, reads them back from many processes, measures, reports.

    main_job.py --build DIR [--readers N] [--seconds S] [--status-file FILE]

Everything runs in a private directory, and every process that it starts has ended when it ends.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

READY_SECONDS_MAX = 60.0
STEP_SECONDS_MAX = 120.0
HERE = pathlib.Path(__file__).resolve().parent


class StepFailed(Exception):
    """A step that ends the job; the text names the step and what it said."""


def run(command, environment, stdout=subprocess.PIPE):
    done = subprocess.run([str(part) for part in command], env=environment, stdout=stdout,
                          stderr=subprocess.PIPE, timeout=STEP_SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise StepFailed(f"{command[0]} ended with code {done.returncode}:\n"
                         + done.stderr.decode(errors="replace"))
    return (done.stdout or b"").decode()


@contextlib.contextmanager
def rank(build, directory, environment):
    """A copykvd that is ready inside the block, and has drained and ended after it."""
    log_path = pathlib.Path(directory) / "copykvd.log"
    with open(log_path, "wb") as log:
        daemon = subprocess.Popen([build / "daemon" / "copykvd"], env=environment, stdout=log,
                                  stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + READY_SECONDS_MAX
        while not re.search(r"^ready", log_path.read_text(errors="replace"), re.M):
            if daemon.poll() is not None or time.monotonic() > give_up:
                raise StepFailed(f"copykvd did not start:\n{log_path.read_text()}")
            time.sleep(0.01)
        yield daemon
        daemon.send_signal(signal.SIGTERM)
        if daemon.wait(READY_SECONDS_MAX) != 0:
            raise StepFailed(f"copykvd ended with code {daemon.returncode}:\n"
                             + log_path.read_text())
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()


def load(build, directory, environment, status_file):
    """Stores the records; returns how many."""
    records = pathlib.Path(directory) / "packages.jsonl"
    with open(records, "wb") as out:
        run([sys.executable, HERE / "dpkg_records.py", status_file], environment, stdout=out)
    run([build / "tools" / "copykv", "load", records], environment)
    return sum(1 for _ in open(records, "rb"))


def read_back(build, environment, status_file, readers):
    """All readers at once; returns the records and bytes that each of them compared."""
    command = [build / "examples" / "verify_records", status_file]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT) for _ in range(readers)]
    try:
        outputs = [reader.communicate(timeout=STEP_SECONDS_MAX)[0].decode() for reader in running]
    finally:
        for reader in running:
            if reader.poll() is None:
                reader.kill()
                reader.wait()
    seen = set()
    for reader, output in zip(running, outputs):
        match = re.search(r"^records (\d+) bytes (\d+) differences 0$", output, re.M)
        if reader.returncode != 0 or not match:
            raise StepFailed(f"a reader ended with code {reader.returncode}:\n{output}")
        seen.add((int(match[1]), int(match[2])))
    if len(seen) != 1:
        raise StepFailed(f"the readers compared different amounts: {sorted(seen)}")
    return seen.pop()


def measure(build, directory, environment, seconds):
    document = pathlib.Path(directory) / "benchkv.json"
    run([build / "bench" / "benchkv", "run", "--duration", str(seconds), "--quiet",
         "--json", document], environment)
    return json.loads(document.read_text())


def duration_text(nanoseconds):
    return f"{nanoseconds:,.0f} ns" if nanoseconds < 10_000 else f"{nanoseconds / 1000:,.1f} us"


def report_measurement(document):
    result = document["runs"][-1]
    latency = result["latency_ns"]["all"]
    line_rtt = document["line_rtt_ns"]
    line_ns = (line_rtt["before"] + line_rtt["after"]) / 2
    verified, wrong = result["reads_verified"], result["wrong_values"]
    print(f"""\
Measured {result['ops_per_second']:,.0f} operations/s: one client, one at a time, half reads, half \
writes,
         8-byte keys and values; {verified:,} reads were checked, {wrong} were wrong.
         Half of the operations took at most {duration_text(latency['p50'])}, 99 % at most \
{duration_text(latency['p99'])}.
         A bare cache line goes from core to core and back in {line_ns:,.0f} ns here (line_rtt):
         the median operation costs {latency['p50'] / line_ns:.2f} of that.""")


def job(arguments, directory):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COPYKV_")}
    environment = {**clean, "COPYKV_RUNTIME_DIR": directory}
    build, status_file = arguments.build.resolve(), arguments.status_file
    with rank(build, directory, environment):
        began = time.monotonic()
        stored = load(build, directory, environment, status_file)
        loaded = time.monotonic()
        records, size = read_back(build, environment, status_file, arguments.readers)
        compared = time.monotonic()
    if records != stored:
        raise StepFailed(f"{stored} records were stored, the readers know {records}")
    print(f"""\
Stored   {records:,} packages of {status_file}, {size:,} bytes, in {loaded - began:.2f} s.
Read     {arguments.readers} processes x {records:,} packages = {arguments.readers * records:,} \
reads compared byte by byte: 0 differences, in {compared - loaded:.2f} s.""", flush=True)
    report_measurement(measure(build, directory, environment, arguments.seconds))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--status-file", default="/var/lib/dpkg/status")
    arguments = parser.parse_args()
    # A signal must unwind through the blocks that end the processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="copykv-job-") as directory:
        try:
            job(arguments, directory)
        except (StepFailed, OSError, KeyError, subprocess.TimeoutExpired) as failure:
            print(f"main job: {failure}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
