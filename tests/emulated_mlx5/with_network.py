#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command whose processes share one emulated network (neighbours.hpp).

    with_network.py COMMAND [ARGUMENT...]
"""
import os
import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory(prefix="copykv-mlx5-") as network:
    sys.exit(subprocess.run(sys.argv[1:], check=False,
                            env={**os.environ, "COPYKV_EMULATED_MLX5": network}).returncode)
