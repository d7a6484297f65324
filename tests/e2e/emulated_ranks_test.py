#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole daemons over `dc` and `rc` on the emulated mlx5 device.

    with_network.py emulated_ranks_test.py COPYKVD
"""
import os
import sys
import unittest

import rdma_cases

PROGRAM = None
NETWORK = "COPYKV_EMULATED_MLX5"


class OnEmulatedDevice(rdma_cases.RdmaCases):
    def setUp(self):
        self.program = PROGRAM
        self.prefix = [["env", f"{NETWORK}={os.environ[NETWORK]}"]] * 3
        super().setUp()

    def test_benchkv_measures_two_ranks(self):
        done = rdma_cases.bench_two_ranks(self.transport, {"COPYKV_DAEMON": PROGRAM})
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
