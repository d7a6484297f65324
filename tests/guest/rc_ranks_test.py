#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ranks over `rc` on the guest's two devices: copykv and benchkv, a lossy link, a link that is cut
and heals, a rank that is killed. Run inside tools/rxe-guest.
"""
import os
import pathlib
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from daemon_process import build_root  # noqa: E402  (the path comes first)
from rank_processes import RankProcesses  # noqa: E402

DONE, NO_DAEMON = 0, 3
KEYS = 8
ENDS = ("veth0", "veth1")
# An emulated processor is slow: these say that something happens at all.
TOLD_SECONDS_MAX = 15
SERVED_SECONDS_MAX = 60
BENCH_SECONDS_MAX = 150


def tc(*arguments):
    subprocess.run(["tc", "qdisc", *arguments], check=True, capture_output=True)


def lose(percent):
    """Of the packets that each end sends."""
    for end in ENDS:
        tc("replace", "dev", end, "root", "netem", "loss", f"{percent}%")


class Ranks(unittest.TestCase):
    def setUp(self):
        lose(0)  # a queue that is put in place later loses what is on its way
        self.addCleanup(lose, 0)
        places = [["--device", f"rxe{rank % 2}", "--address", f"10.0.0.{rank % 2 + 1}"]
                  for rank in range(3)]
        self.ranks = RankProcesses(
            ["--transport", "rc", "--memory", "64MiB", "--peer-timeout", "2s", "--wait",
             "adaptive"], rank_flags=places)
        self.ranks.__enter__()
        self.addCleanup(self.ranks.__exit__, True)
        self.keys = [f"key-{number}" for number in range(KEYS)]
        self.owned = [set(), set(), set()]
        for key in self.keys:
            self.ends(0, DONE, "put", key, "a value of " + key)

    def ends(self, rank, code, *arguments):
        done = self.ranks.copykv(rank, *arguments)
        self.assertEqual(done.returncode, code, (rank, arguments, done, self.ranks.output()))
        return done.stdout

    def until(self, seconds_max, holds):
        give_up = time.monotonic() + seconds_max
        while not holds():
            self.assertLess(time.monotonic(), give_up, self.ranks.output())
            time.sleep(0.05)

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

    def test_one_per_cent_of_the_packets_lost(self):
        lose(1)
        for _ in range(3):
            self.expect_all()

    def test_a_link_that_is_cut_and_heals(self):
        lose(100)
        self.until(TOLD_SECONDS_MAX, lambda: NO_DAEMON in self.codes(1))
        lose(0)
        self.until(SERVED_SECONDS_MAX, lambda: all(self.codes(r) == {DONE} for r in range(3)))
        self.expect_all()

    def test_one_of_three_is_killed_and_comes_back(self):
        victim = self.ranks.daemons[2]
        for _ in range(2):
            victim.kill()
            victim.log.close()
            self.until(TOLD_SECONDS_MAX, lambda: NO_DAEMON in self.codes(0))
            # The others go on with each other.
            self.assertIn(DONE, self.codes(0))
            self.assertIn(DONE, self.codes(1))
            victim.launch([])
            victim.await_ready()
            self.until(SERVED_SECONDS_MAX, lambda: NO_DAEMON not in self.codes(0) | self.codes(1))
            for key in self.keys:  # what the victim owned is gone with it
                self.ends(1, DONE, "put", key, "a value of " + key)
            self.expect_all()


class Bench(unittest.TestCase):
    def test_two_ranks(self):
        done = subprocess.run(
            [build_root() / "bench" / "benchkv", "--ranks", "2", "--transport", "rc", "--duration",
             "2", "--local-ratio", "0.2", "--queue-depth", "4"], capture_output=True, text=True,
            timeout=BENCH_SECONDS_MAX, check=False)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("between the ranks: rc", done.stdout)
        self.assertIn(" 0 wrong; 0 errors", done.stdout)
        print(done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
