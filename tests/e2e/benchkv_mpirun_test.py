#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""benchkv as the ranks that mpirun has started.

    benchkv_mpirun_test.py PMIX     skipped (77) where mpirun is absent or starts nothing, or PMIX
                                    is not "yes"; $COPYKV_BUILD_ROOT names the build
"""
import json
import socket
import sys
import tempfile
import unittest

import launcher
from daemon_process import build_root

BENCHKV = str(build_root() / "bench" / "benchkv")
SECONDS_MAX = 120
SHORT = ["--client-threads", "2", "--duration", "0.5", "--warmup", "0.1"]


def mpirun(*command, ranks=2, **environment):
    return launcher.mpirun(*command, ranks=ranks, seconds_max=SECONDS_MAX, **environment)


class Launched(unittest.TestCase):
    def document(self, done):
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout[-2000:])
        return json.loads(done.stdout)  # one: the other ranks print nothing

    def check(self, run, ranks, clients):
        self.assertEqual((run["ranks_reporting"], run["clients_reporting"]),
                         (ranks, ranks * clients))
        self.assertEqual((run["errors"]["total"], run["wrong_values"], run["failures"]),
                         (0, 0, []))
        self.assertEqual(run["reads_verified"], run["latency_ns"]["get_local"]["count"]
                         + run["latency_ns"]["get_remote"]["count"])
        self.assertGreater(run["latency_ns"]["get_remote"]["count"], 0)
        self.assertEqual([daemon["rank"] for daemon in run["daemons"]], list(range(ranks)))

    def test_by_pmix(self):
        document = self.document(mpirun(BENCHKV, *SHORT, "--json", "-"))
        self.assertEqual((document["config"]["ranks"], document["config"]["rendezvous"]),
                         (2, "pmix"))
        self.check(document["runs"][0], 2, 2)

    def test_the_table_is_printed_once(self):
        done = mpirun(BENCHKV, *SHORT, ranks=3)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(done.stdout.count("3 of 3 ranks reported"), 1, done)

    def test_a_sweep_starts_new_daemons_for_each_point(self):
        done = mpirun(BENCHKV, "sweep", "--preset", "rtt-analysis", *SHORT[2:],
                      "--client-threads", "1,2,3", "--json", "-")
        points = self.document(done)["points"]
        self.assertEqual(len(points), 3)
        for clients, point in enumerate(points, start=1):
            self.check(point["runs"][0], 2, clients)

    def test_by_a_directory_and_by_tcp(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with tempfile.TemporaryDirectory(prefix="copykv-e2e-") as directory:
            for url in (f"file://{directory}", f"tcp://127.0.0.1:{port}"):
                with self.subTest(url=url):
                    done = mpirun(BENCHKV, "sweep", *SHORT, "--queue-depth", "1,4", "--json", "-",
                                  "--rendezvous", url, COPYKV_JOB_SECRET="a secret of 21 bytes.")
                    for point in self.document(done)["points"]:
                        self.check(point["runs"][0], 2, 2)

    def test_a_missed_objective_is_the_job_s_exit_code(self):
        done = mpirun(BENCHKV, *SHORT, "--slo", "all.p50<1ns", "--quiet")
        self.assertEqual(done.returncode, 99, done)
        self.assertEqual(done.stderr.count("all.p50<1ns missed"), 1, done)


def main():
    if sys.argv.pop(1) != "yes":
        print("pmix.h is not installed (libpmix-dev)")
        return launcher.SKIPPED
    if reason := launcher.why_no_mpirun(SECONDS_MAX):
        print(reason)
        return launcher.SKIPPED
    unittest.main(verbosity=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
