#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ranks over `rc` on the guest's two devices: copykv and benchkv, a lossy link, a link that is cut
and heals, a rank that is killed. Run inside tools/rxe-guest.
"""
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import rdma_cases  # noqa: E402  (the path comes first)
from rdma_cases import DONE, NO_DAEMON  # noqa: E402

ENDS = ("veth0", "veth1")


def tc(*arguments):
    subprocess.run(["tc", "qdisc", *arguments], check=True, capture_output=True)


def lose(percent):
    """Of the packets that each end sends."""
    for end in ENDS:
        tc("replace", "dev", end, "root", "netem", "loss", f"{percent}%")


class Ranks(rdma_cases.RdmaCases, unittest.TestCase):
    transport = "rc"
    rank_flags = [["--device", f"rxe{rank % 2}", "--address", f"10.0.0.{rank % 2 + 1}"]
                  for rank in range(3)]

    def setUp(self):
        lose(0)  # a queue that is put in place later loses what is on its way
        self.addCleanup(lose, 0)
        super().setUp()

    def test_one_per_cent_of_the_packets_lost(self):
        lose(1)
        for _ in range(3):
            self.expect_all()

    def test_a_link_that_is_cut_and_heals(self):
        lose(100)
        self.ranks.until(rdma_cases.TOLD_SECONDS_MAX, lambda: NO_DAEMON in self.codes(1))
        lose(0)
        self.ranks.until(rdma_cases.SERVED_SECONDS_MAX,
                   lambda: all(self.codes(r) == {DONE} for r in range(3)))
        self.expect_all()


class Bench(unittest.TestCase):
    def test_two_ranks(self):
        done = rdma_cases.bench_two_ranks("rc")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("between the ranks: rc", done.stdout)
        self.assertIn(" 0 wrong; 0 errors", done.stdout)
        print(done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
