#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ranks that mpirun has started find each other: by PMIx, in a directory, at rank 0.

    mpirun_test.py RANK_PROGRAM      skipped (77) where mpirun is absent or starts nothing
"""
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest

import launcher

RANKS = 3
SECONDS_MAX = 90


def mpirun(*command):
    return launcher.mpirun(*command, ranks=RANKS, seconds_max=SECONDS_MAX)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class MpirunTest(unittest.TestCase):
    program = ""

    def meets(self, *arguments):
        done = mpirun(self.program, *arguments)
        self.assertEqual(done.returncode, 0, done)
        cards = " ".join(f"card{rank}+{4096 + 5}" for rank in range(RANKS))
        expected = [f"rank {rank} of {RANKS} by Open MPI: {cards}" for rank in range(RANKS)]
        self.assertEqual(sorted(done.stdout.splitlines()), expected)

    def fails(self, *arguments):
        done = mpirun(self.program, *arguments)
        self.assertNotEqual(done.returncode, 0, done)
        lines = re.findall(r"^mpirun_rank: (.*)$", done.stderr, re.M)
        self.assertTrue(lines, done)
        return lines

    def test_pmix(self):
        self.meets("pmix")

    def test_pmix_in_a_child_of_the_launched_process(self):
        self.meets("pmix", "--child")

    def test_directory(self):
        with tempfile.TemporaryDirectory(prefix="copykv-e2e-") as directory:
            self.meets(f"file://{directory}")

    def test_tcp(self):
        self.meets(f"tcp://127.0.0.1:{free_port()}", "--child")

    def test_pmix_does_not_wait_for_ever(self):
        lines = self.fails("pmix", "--absent", "1", "--deadline-ms", "1500")
        self.assertIn(f"not all of the {RANKS} ranks came within 1500ms", lines[0])

    def test_tcp_names_the_rank_that_is_missing(self):
        lines = self.fails(f"tcp://127.0.0.1:{free_port()}", "--absent", "1", "--deadline-ms",
                           "6000")  # a loaded machine starts a rank seconds after another
        self.assertIn("rank 1 of 3 is missing", lines[0])

    def test_pmix_compares_the_numbers(self):
        self.assertRegex(self.fails("pmix", "--shift")[0],
                         r"this is --rank \d of --ranks 3, but the launcher started rank \d of 3")


class WithoutLauncherTest(unittest.TestCase):
    def test_pmix_says_what_is_missing(self):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PMIX_", "OMPI_"))}
        done = subprocess.run([MpirunTest.program, "pmix"], capture_output=True, text=True,
                              env={**clean, "PMI_RANK": "0", "PMI_SIZE": "1"}, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no launcher that speaks PMIx started this process", done.stderr)
        self.assertIn("mpirun or srun --mpi=pmix", done.stderr)


def main():
    if reason := launcher.why_no_mpirun(SECONDS_MAX):
        print(reason)
        return launcher.SKIPPED
    MpirunTest.program = sys.argv.pop(1)
    unittest.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
