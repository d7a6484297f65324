#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""benchkv --stations over real ranks: parts that add up, clocks that agree, what the report shows.

    benchkv_stations_test.py      $COPYKV_BUILD_ROOT names the build
"""
import pathlib
import subprocess
import tempfile
import unittest

from benchkv_ranks_test import BENCHKV, RunningBench, bench

NAMES = ["client_to_daemon", "daemon_stages", "staged_until_posted", "request_network",
         "peer_unseen", "peer_executes", "answer_until_posted", "answer_network", "daemon_unseen",
         "response_written", "daemon_to_client"]
COMMON = ["--ranks", "2", "--duration", "1", "--warmup", "0.2"]


class Stations(unittest.TestCase):
    def run_to_end(self, *flags):
        running = RunningBench(*flags)
        self.addCleanup(running.owned.cleanup)
        return running.finish()

    def check(self, document, every, lost_share_max=0.02):
        run = document["runs"][0]
        stations = run["stations"]
        remote = stations["remote"]
        self.assertEqual([part["name"] for part in remote["parts"]], NAMES)
        self.assertEqual(stations["every"], every)
        self.assertGreater(remote["requests"], 20)
        # Every request was in order at every station, and its parts are its latency.
        self.assertEqual(stations["out_of_order"], 0)
        self.assertEqual(remote["latency_minus_parts_ns"], 0)
        self.assertEqual(sum(part["sum_ns"] for part in remote["parts"]),
                         remote["latency"]["sum_ns"])
        for part in remote["parts"]:
            self.assertEqual(part["count"], remote["requests"])
        self.assertEqual(remote["requests"] + stations["lost"], stations["sampled"])
        self.assertLessEqual(stations["lost"], 2 + lost_share_max * stations["sampled"])
        # As many were sampled as should be, and they are like the others.
        latency = run["latency_ns"]
        all_remote = latency["get_remote"]["count"] + latency["put_remote"]["count"]
        clients = document["config"]["ranks"] * document["config"]["client_threads"]
        self.assertAlmostEqual(stations["sampled"], all_remote / every, delta=clients)
        self.assertLess(remote["latency"]["max"],
                        1.01 * max(latency["get_remote"]["max"], latency["put_remote"]["max"]))
        # One machine has one clock.
        ranks = document["config"]["ranks"]
        self.assertEqual(len(stations["clocks"]), ranks * (ranks - 1) // 2)
        for clock in stations["clocks"]:
            self.assertTrue(clock["fits_all"])
            self.assertEqual(len(clock["windows"]), 1)
            self.assertLessEqual(abs(clock["offset_ns"]), clock["error_ns"])
        return remote

    def test_parts_add_up_and_clocks_agree(self):
        for every, flags in ((16, ["--client-threads", "4", "--transport", "ofi-tcp"]),
                             (16, ["--client-threads", "2", "--queue-depth", "16",
                                   "--transport", "ofi-shm"]),
                             (4, ["--client-threads", "2", "--flush", "call",
                                  "--client-processes"]),
                             (4, ["--client-threads", "2", "--flush", "hold:50",
                                  "--daemon-threads", "2"])):
            with self.subTest(flags=flags):
                document = bench(*COMMON, "--stations", str(every), *flags)
                self.check(document, every)

    def test_three_ranks_have_three_pairs_of_clocks(self):
        self.check(bench("--ranks", "3", "--duration", "1", "--warmup", "0", "--stations", "4"), 4)

    def test_values_that_move_by_themselves(self):
        document = bench(*COMMON, "--stations", "4", "--value-bytes", "20000", "--key-range", "50")
        # A get of a value that does not fit is asked again, and not stamped.
        self.check(document, 4, lost_share_max=1)

    def test_the_table_and_the_report_show_the_parts(self):
        with tempfile.TemporaryDirectory(prefix="copykv-e2e-") as directory:
            result = pathlib.Path(directory) / "stations.json"
            page = pathlib.Path(directory) / "stations.html"
            code, out, errors = self.run_to_end(*COMMON, "--stations", "8", "--json", str(result))
            self.assertEqual(code, 0, errors)
            for name in NAMES:
                self.assertIn(name, out)
            self.assertIn("sampled requests", out)
            self.assertIn("clock of rank 1 ahead of rank 0's by", out)
            subprocess.run([BENCHKV, "report", str(result), "-o", str(page)], check=True,
                           timeout=60, capture_output=True)
            text = page.read_text(encoding="utf-8")
            for name in NAMES:
                self.assertIn(name, text)

    def test_what_has_no_stations_is_refused(self):
        for flags, why in ((["--ranks", "1"], "add --ranks"),
                           (["--ranks", "2", "--transport", "sim"], "leave it out"),
                           (["--attach"], "let benchkv start the ranks")):
            code, out, errors = self.run_to_end("--stations", "64", *flags)
            self.assertEqual((code, out), (2, ""))
            self.assertIn(why, errors)


if __name__ == "__main__":
    unittest.main()
