# SPDX-License-Identifier: Apache-2.0
"""Stores this machine's package records on two ranks, reads them back from processes of both,
measures, reports.

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

RANKS = 2
CLIENTS = 4  # of the measurement, on each rank
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


class Rank:
    """One copykvd of the job."""

    def __init__(self, number, build, directory, environment):
        self.number = number
        self.log_path = pathlib.Path(directory) / f"copykvd{number}.log"
        with open(self.log_path, "wb") as log:
            self.daemon = subprocess.Popen(
                [build / "daemon" / "copykvd", "--rank", str(number), "--ranks", str(RANKS),
                 "--rendezvous", f"file://{directory}/meet"], env=environment, stdout=log,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def said(self):
        return self.log_path.read_text(errors="replace")

    def await_ready(self):
        give_up = time.monotonic() + READY_SECONDS_MAX
        while not re.search(r"^ready", self.said(), re.M):
            if self.daemon.poll() is not None or time.monotonic() > give_up:
                raise StepFailed(f"copykvd of rank {self.number} did not start:\n{self.said()}")
            time.sleep(0.01)

    def stop(self):
        if self.daemon.wait(READY_SECONDS_MAX) != 0:
            raise StepFailed(f"copykvd of rank {self.number} ended with code "
                             f"{self.daemon.returncode}:\n{self.said()}")


@contextlib.contextmanager
def ranks(build, directory, environment):
    """The job is ready inside the block, and has drained and ended after it."""
    os.mkdir(os.path.join(directory, "meet"))
    started = []
    try:
        for number in range(RANKS):
            started.append(Rank(number, build, directory, environment))
        for rank in started:
            rank.await_ready()
        yield
        for rank in started:
            rank.daemon.send_signal(signal.SIGTERM)
        for rank in started:
            rank.stop()
    finally:
        for rank in started:
            if rank.daemon.poll() is None:
                rank.daemon.kill()
                rank.daemon.wait()


def load(build, directory, environment, status_file):
    """Stores the records; returns how many."""
    records = pathlib.Path(directory) / "packages.jsonl"
    with open(records, "wb") as out:
        run([sys.executable, HERE / "dpkg_records.py", status_file], environment, stdout=out)
    run([build / "tools" / "copykv", "load", records], environment)
    return sum(1 for _ in open(records, "rb"))


def remote_calls(build, environment):
    """Requests that went from one rank to the other so far."""
    calls = 0
    for number in range(RANKS):
        text = run([build / "tools" / "copykv", "--rank", number, "stat", "--json"], environment)
        calls += sum(daemon["remote_calls"] for daemon in json.loads(text)["daemons"])
    return calls


def read_back(build, environment, status_file, readers):
    """All readers at once, on each rank as many; returns the records and bytes that each of them
    compared."""
    command = [build / "examples" / "verify_records", status_file]
    running = [subprocess.Popen([*command, str(reader % RANKS)], env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
               for reader in range(readers)]
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
    run([build / "bench" / "benchkv", "run", "--ranks", RANKS, "--client-threads", CLIENTS,
         "--duration", seconds, "--quiet", "--json", document], environment)
    return json.loads(document.read_text())


def duration_text(nanoseconds):
    return f"{nanoseconds:,.0f} ns" if nanoseconds < 10_000 else f"{nanoseconds / 1000:,.1f} us"


def report_measurement(document):
    result = document["runs"][-1]
    latency, between = result["latency_ns"], result["copyrpc"]
    verified, wrong = result["reads_verified"], result["wrong_values"]
    balance = result["rank_balance"]
    print(f"""\
Measured {result['ops_per_second']:,.0f} operations/s: {RANKS} ranks with {CLIENTS} clients each, \
one operation at a time,
         half reads, half writes, 8-byte keys and values, half of the keys on the other rank;
         {verified:,} reads were checked, {wrong} were wrong.
         Half of the reads of keys on the own rank took at most \
{duration_text(latency['get_local']['p50'])}, of keys on the
         other rank {duration_text(latency['get_remote']['p50'])} (over \
{document['host']['transport']}; daemon to daemon and back \
{duration_text(between['rtt_ns']['p50'])}).
         The slower rank did {balance['ops_per_second_min']:,.0f} operations/s, the faster one \
{balance['ops_per_second_max']:,.0f}.
         {os.cpu_count()} cores run {RANKS} daemons and {RANKS * CLIENTS} clients here: more cores \
mean less waiting.""")


def job(arguments, directory):
    others = ("COPYKV_", "OMPI_", "PMIX_", "PMI_", "SLURM_")  # this is not a launcher's job
    clean = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    environment = {**clean, "COPYKV_RUNTIME_DIR": directory}
    build, status_file = arguments.build.resolve(), arguments.status_file
    with ranks(build, directory, environment):
        began = time.monotonic()
        stored = load(build, directory, environment, status_file)
        loaded = time.monotonic()
        before = remote_calls(build, environment)
        records, size = read_back(build, environment, status_file, arguments.readers)
        compared = time.monotonic()
        crossed = remote_calls(build, environment) - before
    if records != stored:
        raise StepFailed(f"{stored} records were stored, the readers know {records}")
    if crossed == 0:
        raise StepFailed("no read went from one rank to the other")
    print(f"""\
Stored   {records:,} packages of {status_file}, {size:,} bytes, on {RANKS} ranks, in \
{loaded - began:.2f} s.
Read     {arguments.readers} processes x {records:,} packages = {arguments.readers * records:,} \
reads compared byte by byte: 0 differences, in {compared - loaded:.2f} s.
         Half of the processes are clients of each rank; {crossed:,} requests went to the other \
rank.""", flush=True)
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
