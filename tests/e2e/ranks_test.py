#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three ranks from the outside: every key from every rank, and how a start fails.

    ranks_test.py      $COPYKV_BUILD_ROOT names the build
"""
import json
import pathlib
import random
import shutil
import socket
import tempfile
import time
import unittest

from daemon_process import DaemonProcess
from rank_processes import RankProcesses, left_in_shared_memory

DONE, NO_KEY = 0, 1
RANKS = 3
KEYS = 18
COUNTERS_SECONDS_MAX = 5.0
# Around what stands in a slot's line, in its page, and in a message of copyrpc; then large values.
SIZES = [0, 39, 41, 4096, 4097, 65_536, 1_200_000, 16 << 20]
MEMORY = ["--memory", "192MiB"]


def value_of(size, seed):
    block = random.Random(seed).randbytes(1009)  # a prime: no copy of a page fits another
    return (block * (size // len(block) + 1))[:size]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class EveryKeyFromEveryRank(unittest.TestCase):
    def ends(self, rank, code, *arguments, stdin=b""):
        done = self.ranks.copykv(rank, *arguments, stdin=stdin)
        self.assertEqual(done.returncode, code, (rank, arguments, done.stderr, done.stdout[:80]))
        return done.stdout

    def small_operations(self):
        keys = [f"key-{number}" for number in range(KEYS)]
        for number, key in enumerate(keys):
            writer, others = number % RANKS, [r for r in range(RANKS) if r != number % RANKS]
            self.ends(writer, DONE, "put", key, f"value of {key}")
            for reader in range(RANKS):
                self.assertEqual(self.ends(reader, DONE, "get", key), f"value of {key}".encode())
            self.ends(others[0], DONE, "put", key, "0", "--if-present")
            self.ends(others[1], NO_KEY, "put", key, "1", "--if-absent")
            self.assertEqual(self.ends(others[0], DONE, "add", key, "5"), b"5\n")
            self.assertEqual(self.ends(others[1], DONE, "add", key, "-7"), b"-2\n")
            self.assertRegex(self.ends(writer, DONE, "exists", key), rb"\Aversion \d+ bytes 2\n\Z")
        # Every rank owns some, and enumerates all.
        give_up = time.monotonic() + COUNTERS_SECONDS_MAX
        while sum(items := [self.ranks.items(rank) for rank in range(RANKS)]) < KEYS:
            self.assertLess(time.monotonic(), give_up, items)
        self.assertEqual(sum(items), KEYS)
        self.assertTrue(all(items), items)
        for rank in range(RANKS):
            dumped = [json.loads(line) for line in self.ends(rank, DONE, "dump").splitlines()]
            self.assertEqual(sorted(record["key"] for record in dumped), sorted(keys))
            self.assertEqual({record["value"] for record in dumped}, {"-2"})
        for number, key in enumerate(keys):
            self.ends((number + 1) % RANKS, DONE, "touch", key, "300ms" if number % 2 else "0")
        time.sleep(0.4)
        for number, key in enumerate(keys):
            alive = number % 2 == 0
            self.ends((number + 2) % RANKS, DONE if alive else NO_KEY, "get", key)
            self.ends(number % RANKS, DONE if alive else NO_KEY, "del", key)
            self.ends((number + 1) % RANKS, NO_KEY, "exists", key)

    def sizes(self, sizes):
        for size in sizes:
            # Three keys: with the writer as it goes round, local and remote both ways.
            for number in range(RANKS):
                key, value = f"sized-{number}", value_of(size, number)
                self.ends(number, DONE, "put", key, "-", stdin=value)
                for reader in range(RANKS):
                    self.assertEqual(self.ends(reader, DONE, "get", key), value, (size, reader))
        for number in range(RANKS):
            self.ends((number + 1) % RANKS, DONE, "del", f"sized-{number}")

    def runs(self, transport, daemon_threads, sizes):
        # Up to nine polling threads beside other tests on two processors: who has no time slice for
        # a second is not dead.
        flags = ["--transport", transport, "--peer-timeout", "10s", *MEMORY]
        with RankProcesses(flags, daemon_threads) as self.ranks:
            self.small_operations()
            self.sizes(sizes)
            for rank, threads in enumerate(daemon_threads):
                self.assertEqual(len(self.ends(rank, DONE, "ping").splitlines()), threads)
            pids = [daemon.pid for daemon in self.ranks.daemons]
            self.assertNotIn("warn", self.ranks.output())
        self.assertEqual(left_in_shared_memory(pids), [])

    def test_ofi_tcp(self):
        self.runs("ofi-tcp", [1, 1, 1], SIZES)

    def test_ofi_shm(self):
        self.runs("ofi-shm", [1, 1, 1], SIZES)

    def test_two_daemons_each(self):
        self.runs("ofi-tcp", [2, 2, 2], SIZES[3:6])

    def test_different_numbers_of_daemons(self):
        self.runs("ofi-tcp", [1, 2, 3], SIZES[3:7])

    def test_different_numbers_of_daemons_over_shm(self):
        self.runs("ofi-shm", [3, 1, 2], SIZES[3:7])


class FailedStarts(unittest.TestCase):
    """Each cause has a line of its own that names the remedy, and an exit code that is not 0."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="copykv-e2e-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        (self.directory / "meeting").mkdir()
        self.file = f"file://{self.directory}/meeting"
        self.tcp = f"tcp://127.0.0.1:{free_port()}"
        for number in range(2):
            secret = self.secret(number)
            secret.write_text(f"the secret of the job, number {number}\n")
            secret.chmod(0o600)

    def secret(self, number):
        return self.directory / f"secret{number}"

    def launch(self, rank, ranks, rendezvous, *flags, secret=0):
        # A runtime directory each: what a second daemon of one rank meets there is not meant here.
        place = self.directory / f"run{len(list(self.directory.glob('run*')))}"
        place.mkdir()
        if rendezvous.startswith("tcp:"):
            flags = [*flags, "--job-secret-file", str(self.secret(secret))]
        daemon = DaemonProcess(
            ["--rank", str(rank), "--ranks", str(ranks), "--rendezvous", rendezvous,
             "--rendezvous-timeout", "3s", "--memory", "64MiB", *flags], runtime_dir=place)
        daemon.launch()
        self.addCleanup(daemon.stop)
        return daemon

    def fails(self, daemon, *words, code=1):
        self.assertEqual(daemon.process.wait(30), code, daemon.output())
        errors = [line for line in daemon.output().splitlines() if ": error: " in line]
        self.assertEqual(len(errors), 1, daemon.output())
        for word in words:
            self.assertIn(word, errors[0])

    def test_two_ranks_with_one_number(self):
        first = [self.launch(rank, 2, self.file) for rank in range(2)]
        for daemon in first:
            daemon.await_ready()
        self.fails(self.launch(1, 2, self.file), "rank 1 of job 'default' is another living",
                   "give each rank a --rank of its own")
        self.assertTrue(all(daemon.process.poll() is None for daemon in first))

    def test_two_ranks_with_one_number_at_rank_0(self):
        first = [self.launch(rank, 2, self.tcp) for rank in range(2)]
        for daemon in first:
            daemon.await_ready()
        self.fails(self.launch(1, 2, self.tcp), "rank 1", "give each rank a --rank of its own")
        self.assertTrue(all(daemon.process.poll() is None for daemon in first))

    def test_ranks_that_differ(self):
        for rendezvous in (self.file, self.tcp):
            here, there = self.launch(0, 2, rendezvous), self.launch(1, 3, rendezvous)
            self.fails(there, "was started with --ranks 2, this one with --ranks 3")
            self.fails(here, "rank 1 of 2 is missing")
            self.assertIn("rank 1 was started with --ranks 3" if rendezvous == self.file else
                          "was started with --ranks 3", here.output())

    def test_a_rank_that_does_not_exist(self):
        self.fails(self.launch(3, 3, self.file), "ranks are numbered from 0 to 2", code=2)

    @staticmethod
    def without_devices():
        """What the verbs transports say where there is no device for them."""
        if any(pathlib.Path("/sys/class").glob("infiniband/*")):
            return []
        return [("rc", "no RDMA device"), ("dc", "no RDMA device")]

    def test_transports(self):
        for name, words in (("carrier-pigeon", "ofi-tcp, ofi-shm or ofi:<provider>"),
                            ("ofi:nothing", "fi_info -p 'nothing'"), *self.without_devices()):
            self.fails(self.launch(0, 2, self.file, "--transport", name), name.split(":")[-1],
                       words)

    def test_transports_that_differ(self):
        here = self.launch(0, 2, self.file, "--transport", "ofi-tcp")
        there = self.launch(1, 2, self.file, "--transport", "ofi-shm")
        self.fails(here, "rank 1 uses transport ofi-shm", "give every rank the same --transport")
        self.fails(there, "rank 0 uses transport ofi-tcp")

    def test_value_limits_that_differ(self):
        here = self.launch(0, 2, self.file)
        there = self.launch(1, 2, self.file, "--max-value-bytes", "1MiB")
        self.fails(here, "rank 1 has --max-value-bytes 1MiB")
        self.fails(there, "rank 0 has --max-value-bytes 16MiB")

    def test_nobody_at_the_rendezvous(self):
        self.fails(self.launch(1, 2, self.tcp), "cannot reach rank 0", "Connection refused")
        self.fails(self.launch(1, 2, f"file://{self.directory}/nowhere"), "cannot open",
                   "make it on a file system that all ranks share")
        self.fails(self.launch(1, 2, "none"), "--rendezvous", code=2)
        self.fails(self.launch(1, 2, "carrier://pigeon"), "carrier://pigeon")
        self.fails(self.launch(0, 2, self.file), "rank 1 of 2 is missing")

    def test_another_secret(self):
        here, there = (self.launch(rank, 2, self.tcp, secret=rank) for rank in range(2))
        self.fails(there, "has another job secret", "--job-secret-file")
        self.fails(here, "rank 1 of 2 is missing")
        self.assertIn("has another job secret", here.output())


if __name__ == "__main__":
    unittest.main()
