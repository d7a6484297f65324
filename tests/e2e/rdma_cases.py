# SPDX-License-Identifier: Apache-2.0
"""What three ranks over an RDMA transport must do, whatever device is under it.

    class Ranks(RdmaCases, unittest.TestCase):
        transport = "rc"
"""
import os
import subprocess

from daemon_process import build_root
from rank_processes import RankProcesses

DONE, NO_DAEMON = 0, 3
KEYS = 8
# An emulated processor is slow: these say that something happens at all.
TOLD_SECONDS_MAX = 15
SERVED_SECONDS_MAX = 60
BENCH_SECONDS_MAX = 150


def bench_two_ranks(transport, environment=None):
    """benchkv starts two ranks; what it printed."""
    return subprocess.run(
        [build_root() / "bench" / "benchkv", "--ranks", "2", "--transport", transport, "--duration",
         "2", "--local-ratio", "0.2", "--queue-depth", "4"], capture_output=True, text=True,
        timeout=BENCH_SECONDS_MAX, check=False, env={**os.environ, **(environment or {})})


class RdmaCases:
    transport = ""
    rank_flags = None  # per rank
    program = None     # in place of copykvd
    prefix = None      # per rank, what runs it

    def setUp(self):
        self.ranks = RankProcesses(
            ["--transport", self.transport, "--memory", "64MiB", "--peer-timeout", "2s", "--wait",
             "adaptive"], rank_flags=self.rank_flags, program=self.program, prefix=self.prefix)
        self.ranks.__enter__()
        self.addCleanup(self.ranks.__exit__, True)
        self.keys = [f"key-{number}" for number in range(KEYS)]
        for key in self.keys:
            self.ends(0, DONE, "put", key, "a value of " + key)

    def ends(self, rank, code, *arguments):
        done = self.ranks.copykv(rank, *arguments)
        self.assertEqual(done.returncode, code, (rank, arguments, done, self.ranks.output()))
        return done.stdout

    def codes(self, rank):
        return {self.ranks.copykv(rank, "get", key).returncode for key in self.keys}

    def expect_all(self, ranks=(0, 1, 2)):
        for rank in ranks:
            for key in self.keys:
                self.assertEqual(self.ends(rank, DONE, "get", key), b"a value of " + key.encode())

    def test_every_rank_serves_every_rank(self):
        self.expect_all()

    def test_large_values_cross_by_read_and_write(self):
        for size in (5_000, 1_200_000):
            value = os.urandom(size)
            for number in range(4):  # each rank owns some of the keys
                done = self.ranks.copykv(0, "put", f"large-{number}", "-", stdin=value)
                self.assertEqual(done.returncode, DONE, done)
                self.assertEqual(self.ends(1, DONE, "get", f"large-{number}"), value)

    def test_one_of_three_is_killed_and_comes_back(self):
        victim = self.ranks.daemons[2]
        for _ in range(2):
            victim.kill()
            victim.log.close()
            self.ranks.until(TOLD_SECONDS_MAX, lambda: NO_DAEMON in self.codes(0))
            # The others go on with each other.
            self.assertIn(DONE, self.codes(0))
            self.assertIn(DONE, self.codes(1))
            victim.launch(self.ranks.prefix[2])
            victim.await_ready()
            self.ranks.until(SERVED_SECONDS_MAX,
                             lambda: NO_DAEMON not in self.codes(0) | self.codes(1))
            for key in self.keys:  # what the victim owned is gone with it
                self.ends(1, DONE, "put", key, "a value of " + key)
            self.expect_all()
