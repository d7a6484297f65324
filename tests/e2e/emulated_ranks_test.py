#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole daemons over `dc` and `rc` on the emulated mlx5 device: processes of their own that find
each other in a directory (tests/emulated_mlx5/neighbours.hpp).

    emulated_ranks_test.py COPYKVD
"""
import os
import shutil
import sys
import tempfile
import unittest

import rdma_cases

PROGRAM = None
DIRECTORY = "COPYKV_EMULATED_MLX5"


class OnEmulatedDevice(rdma_cases.RdmaCases):
    def setUp(self):
        network = tempfile.mkdtemp(prefix="copykv-mlx5-")
        self.addCleanup(shutil.rmtree, network, True)
        self.program = PROGRAM
        self.prefix = [["env", f"{DIRECTORY}={network}"] for _ in range(3)]
        super().setUp()

    def test_benchkv_measures_two_ranks(self):
        with tempfile.TemporaryDirectory(prefix="copykv-mlx5-") as network:
            done = rdma_cases.bench_two_ranks(
                self.transport, {DIRECTORY: network, "COPYKV_DAEMON": PROGRAM})
        self.assertEqual(done.returncode, 0, done)
        self.assertIn(f"between the ranks: {self.transport}", done.stdout)
        self.assertIn(" 0 wrong; 0 errors", done.stdout)


class Dc(OnEmulatedDevice, unittest.TestCase):
    transport = "dc"


class Rc(OnEmulatedDevice, unittest.TestCase):
    transport = "rc"


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
