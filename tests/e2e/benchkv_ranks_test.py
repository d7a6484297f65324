#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""benchkv over several ranks of this machine: the document field by field, faults, signals.

    benchkv_ranks_test.py      $COPYKV_BUILD_ROOT names the build
"""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

from daemon_process import DaemonProcess, build_root, end_with_parent

BENCHKV = str(build_root() / "bench" / "benchkv")
SECONDS_MAX = 120
COPYKV = str(build_root() / "tools" / "copykv")
CLIENTS = 4
KEYS_LOADED = 1024  # on each rank
COUNTED_LATE = 8


class RunningBench:
    """A benchkv with everything it starts: found by the private directory that their environment
    names, so that nothing can be left behind unseen."""

    def __init__(self, *arguments):
        # A killed benchkv leaves its private directory behind: it goes with this one.
        self.owned = tempfile.TemporaryDirectory(prefix="copykv-e2e-", ignore_cleanup_errors=True)
        self.directory = self.owned.name
        clean = {k: v for k, v in os.environ.items() if not k.startswith("COPYKV_")}
        self.process = subprocess.Popen(
            [BENCHKV, *arguments], env={**clean, "XDG_RUNTIME_DIR": self.directory}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=end_with_parent)

    def finish(self, seconds_max=SECONDS_MAX):
        out, errors = self.process.communicate(timeout=seconds_max)
        return self.process.returncode, out, errors

    def family(self):
        """Every process of this run: pid -> program."""
        mark = b"XDG_RUNTIME_DIR=" + self.directory.encode() + b"\0"
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if mark in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                pass  # it has just ended
        return found

    def daemon_of(self, rank):
        wanted = [b"--rank", str(rank).encode()]
        for pid, words in self.family().items():
            if words[0].endswith(b"copykvd") and wanted == words[3:5]:
                return pid
        return None

    def bench_of_rank_1(self):
        for pid, words in self.family().items():
            if words[0].endswith(b"benchkv") and pid != self.process.pid:
                return pid
        return None

    def puts_of_rank_0(self):
        """That its daemon has served; 0 before it is there."""
        for directory in pathlib.Path(self.directory).glob("benchkv-*"):
            done = subprocess.run([COPYKV, "--runtime-dir", directory, "--job", "bench-0", "stat",
                                   "--json"], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return sum(d["by_op"]["put"] for d in json.loads(done.stdout)["daemons"])
        return 0

    def await_load(self):
        """Until a run is on: more has been put than the keys that are loaded before."""
        deadline = time.monotonic() + 60
        while self.puts_of_rank_0() < KEYS_LOADED + 200:
            assert time.monotonic() < deadline, "the load never came"
            time.sleep(0.05)

    def await_nobody(self, seconds_max=10):
        deadline = time.monotonic() + seconds_max
        while self.family() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.family()


def bench(*arguments):
    """Runs to the end; the document of a run that must succeed."""
    running = RunningBench(*arguments, "--json", "-")
    code, out, errors = running.finish()
    left = running.await_nobody()
    assert code == 0, f"benchkv ended with code {code}:\n{errors}\n{out[-3000:]}"
    assert not left, f"left behind: {left}"
    assert not os.listdir(running.directory), "the private directory was left behind"
    running.owned.cleanup()
    return json.loads(out)


class TwoRanks(unittest.TestCase):
    def check_histogram(self, histogram):
        self.assertEqual(set(histogram), {"count", "mean", "p50", "p90", "p99", "p999", "max"})
        if histogram["count"] > 0:
            self.assertLessEqual(histogram["p50"], histogram["p99"])
            self.assertLessEqual(histogram["p99"], histogram["max"])

    def check_daemon(self, daemon):
        self.assertGreater(daemon["turns"], 0)
        self.assertGreater(daemon["busy_fraction"], 0)
        self.assertLessEqual(daemon["busy_fraction"], 1)
        self.assertGreaterEqual(daemon["ground_queue_mean"], 0)
        for phase in ("completions", "inbound", "ground_queue", "flush"):
            self.check_histogram(daemon["phase_ns"][phase])
        turn = daemon["per_turn"]
        for name in ("requests", "local", "remote", "answers", "inbound", "flushes"):
            self.assertGreater(turn[name], 0, name)
        self.assertGreaterEqual(turn["ring_full"], 0)
        self.assertAlmostEqual(turn["requests"], turn["local"] + turn["remote"], places=9)
        # Everything that was asked was answered; the daemon counts after it has answered, and may
        # be looked at in between.
        self.assertAlmostEqual(turn["remote"] * daemon["turns"], turn["answers"] * daemon["turns"],
                               delta=COUNTED_LATE)

    def check_document(self, document, ranks, clients):
        config, run = document["config"], document["runs"][0]
        self.assertEqual((document["schema"], config["ranks"]), (1, ranks))
        self.assertFalse(document["host"]["simulated"])
        self.assertGreater(document["line_rtt_ns"]["before"], 0)
        self.assertGreater(document["line_rtt_ns"]["after"], 0)
        self.assertEqual((run["ranks_reporting"], run["clients_reporting"]),
                         (ranks, ranks * clients))
        self.assertEqual(run["errors"], {"total": 0})
        self.assertEqual((run["failures"], run["wrong_values"]), ([], 0))
        latency = run["latency_ns"]
        for name in ("all", "get_local", "get_remote", "put_local", "put_remote"):
            self.check_histogram(latency[name])
        parts = [latency[name]["count"] for name in latency if name != "all"]
        self.assertEqual(sum(parts), run["operations"])
        self.assertEqual(latency["all"]["count"], run["operations"])
        self.assertEqual(run["reads_verified"],
                         latency["get_local"]["count"] + latency["get_remote"]["count"])
        law = run["littles_law"]
        self.assertLess(law["residual"], 0.03)
        self.assertLessEqual(law["in_flight_mean"], ranks * clients * config["queue_depth"])
        self.assertGreater(law["in_flight_mean"], 0)
        # No client starves: each did a good part of what the mean did.
        each = run["operations_by_client"]
        self.assertEqual(sum(each), run["operations"])
        self.assertGreater(min(each), 0.02 * sum(each) / len(each), each)
        self.check_ranks(run, ranks)

    def check_ranks(self, run, ranks):
        self.assertEqual([share["rank"] for share in run["ranks"]], list(range(ranks)))
        self.assertEqual(sum(share["operations"] for share in run["ranks"]), run["operations"])
        balance = run["rank_balance"]
        self.assertAlmostEqual(balance["min_over_max"],
                               balance["ops_per_second_min"] / balance["ops_per_second_max"])
        self.assertGreater(balance["min_over_max"], 0.05)
        copyrpc = run["copyrpc"]
        self.check_histogram(copyrpc["rtt_ns"])
        self.assertGreater(copyrpc["rtt_ns"]["count"], 0)
        self.assertGreaterEqual(copyrpc["messages_per_batch_mean"], 1)
        self.assertGreater(copyrpc["batches_per_second"], 0)
        remote = run["latency_ns"]["get_remote"]["count"] + run["latency_ns"]["put_remote"]["count"]
        self.assertAlmostEqual(copyrpc["remote_ops_per_second_per_rank"],
                               remote / run["seconds"] / ranks, delta=1)
        daemons = run["daemons"]
        self.assertEqual([daemon["rank"] for daemon in daemons], list(range(ranks)))
        for daemon in daemons:
            self.check_daemon(daemon)
        called = sum(round(d["per_turn"]["remote"] * d["turns"]) for d in daemons)
        served = sum(round(d["per_turn"]["inbound"] * d["turns"]) for d in daemons)
        self.assertAlmostEqual(called, remote, delta=COUNTED_LATE)
        self.assertAlmostEqual(served, remote, delta=COUNTED_LATE)

    def test_every_field(self):
        for flags in (["--transport", "auto"], ["--transport", "ofi-shm", "--queue-depth", "8"]):
            with self.subTest(flags=flags):
                document = bench("--ranks", "2", "--client-threads", str(CLIENTS), "--duration",
                                 "2", "--warmup", "0.3", *flags)
                self.check_document(document, 2, CLIENTS)
                self.assertIn(document["host"]["transport"], ("ofi-tcp", "ofi-shm"))
                counts = document["runs"][0]["latency_ns"]
                share = sum(counts[name]["count"] for name in ("get_local", "put_local"))
                self.assertAlmostEqual(share / counts["all"]["count"], 0.5, delta=0.1)

    def test_loads_of_every_kind(self):
        for ranks, flags in ((3, ["--local-ratio", "0.9"]),
                             (2, ["--client-processes", "--preset", "ycsb-a", "--key-range",
                                  "500"]),
                             (2, ["--preset", "ycsb-d", "--key-range", "500"]),
                             (2, ["--arrival", "poisson", "--rate", "500"]),
                             (2, ["--flush", "hold:50", "--wait", "park", "--daemon-threads", "2"]),
                             (2, ["--value-bytes", "0-40000", "--key-range", "50"])):
            with self.subTest(flags=flags):
                document = bench("--ranks", str(ranks), "--client-threads", "2", "--duration", "1",
                                 "--warmup", "0", *flags)
                run = document["runs"][0]
                self.assertEqual((run["ranks_reporting"], run["errors"]["total"]), (ranks, 0))
                latency = run["latency_ns"]
                self.assertGreater(latency["get_remote"]["count"], 0)
                if "--local-ratio" in flags:
                    local = latency["get_local"]["count"] + latency["put_local"]["count"]
                    self.assertAlmostEqual(local / run["operations"], 0.9, delta=0.05)

    def test_a_sweep_has_a_document_for_each_point(self):
        sweep = bench("sweep", "--preset", "rtt-analysis", "--client-threads", "1,2", "--duration",
                      "0.5", "--warmup", "0")
        self.assertEqual(sweep["schema"], 1)
        self.assertEqual([point["config"]["client_threads"] for point in sweep["points"]], [1, 2])
        for point in sweep["points"]:
            run, config = point["runs"][0], point["config"]
            self.assertEqual(run["ranks_reporting"], 2)
            self.assertEqual((config["ranks"], config["key_range"], config["queue_depth"]),
                             (2, 1024, 1))
            self.assertGreater(len(run["copyrpc"]["rtt_ns"]["buckets"]), 0)


class StartedByHand(unittest.TestCase):
    """As on several hosts, where nothing but the rendezvous connects the ranks."""

    def test_rank_0_reports_for_all(self):
        with tempfile.TemporaryDirectory(prefix="copykv-e2e-") as meet:
            started = [RunningBench("--rank", str(rank), "--ranks", "2", "--rendezvous",
                                    f"file://{meet}", "--duration", "1", "--warmup", "0", "--json",
                                    "-") for rank in range(2)]
            ends = [running.finish() for running in started]
        self.assertEqual([code for code, _, _ in ends], [0, 0], ends[0][2] + ends[1][2])
        self.assertEqual(ends[1][1:], ("", ""))
        run = json.loads(ends[0][1])["runs"][0]
        self.assertEqual((run["ranks_reporting"], run["errors"]["total"]), (2, 0))
        for running in started:
            self.assertEqual(running.await_nobody(), {})

    def test_which_of_how_many_must_be_said(self):
        for flags in (["--ranks", "2"], ["--rank", "1"]):
            code, out, errors = RunningBench("--rendezvous", "file:///tmp", *flags).finish()
            self.assertEqual((code, out), (2, ""))
            self.assertIn("--rank and --ranks", errors)


class Faults(unittest.TestCase):
    LONG = ["--ranks", "2", "--client-threads", "2", "--duration", "60", "--warmup", "0"]

    def start(self, *flags):
        running = RunningBench(*self.LONG, *flags)
        self.addCleanup(running.process.kill)
        running.await_load()
        return running

    def check_end(self, running, began):
        code, out, errors = running.finish(30)
        self.assertLess(time.monotonic() - began, 15)
        self.assertEqual(code, 1, errors + out)
        self.assertEqual(running.await_nobody(), {})
        return out, errors

    def test_a_killed_daemon_of_another_rank(self):
        for flags in ([], ["--local-ratio", "1"]):
            with self.subTest(flags=flags):
                running = self.start("--json", "-", *flags)
                began = time.monotonic()
                os.kill(running.daemon_of(1), signal.SIGKILL)
                out, errors = self.check_end(running, began)
                self.assertIn("1 of 2 ranks reported; nothing came from rank 1", errors)
                self.assertIn("rank 1: copykvd was killed by signal 9 during the run", errors)
                run = json.loads(out)["runs"][0]
                self.assertEqual(run["ranks_reporting"], 1)
                self.assertEqual(run["wrong_values"], 0)
                self.assertGreater(run["operations"], 0)

    def test_a_killed_daemon_of_rank_0(self):
        running = self.start("--json", "-")
        began = time.monotonic()
        os.kill(running.daemon_of(0), signal.SIGKILL)
        out, errors = self.check_end(running, began)
        self.assertIn("the ranks meet on keys of rank 0, and its own copykvd", errors)
        self.assertIn("copykvd was killed by signal 9 during the run", errors)
        self.assertEqual(json.loads(out)["runs"][0]["ranks_reporting"], 1)

    def test_a_killed_benchkv_of_another_rank(self):
        running = self.start("--json", "-")
        began = time.monotonic()
        os.kill(running.bench_of_rank_1(), signal.SIGKILL)
        out, errors = self.check_end(running, began)
        self.assertIn("the benchkv of rank 1 was killed by signal 9", errors)
        self.assertEqual(json.loads(out)["runs"][0]["ranks_reporting"], 1)

    def test_a_stopped_benchkv_of_another_rank_does_not_hold_up_the_others(self):
        running = RunningBench("--ranks", "2", "--duration", "5", "--warmup", "0", "--json", "-")
        self.addCleanup(running.process.kill)
        running.await_load()
        began = time.monotonic()
        os.kill(running.bench_of_rank_1(), signal.SIGSTOP)
        code, out, errors = running.finish(60)
        self.assertEqual(code, 1, errors)
        self.assertLess(time.monotonic() - began, 60)
        self.assertIn("nothing came from rank 1: within 10.0 s", errors)
        self.assertEqual(json.loads(out)["runs"][0]["ranks_reporting"], 1)
        self.assertEqual(running.await_nobody(), {})

    def test_a_killed_benchkv_takes_everything_with_it(self):
        running = self.start()
        running.process.kill()
        running.process.communicate(timeout=20)
        self.assertEqual(running.await_nobody(20), {})

    def test_an_interrupt_reports_what_was_measured_on_all_ranks(self):
        running = self.start("--json", "-")
        running.process.send_signal(signal.SIGINT)
        code, out, errors = running.finish(30)
        self.assertEqual(code, 130, errors)
        document = json.loads(out)
        self.assertTrue(document["interrupted"])
        self.assertEqual(document["runs"][0]["ranks_reporting"], 2)
        self.assertEqual(document["runs"][0]["errors"]["total"], 0)
        self.assertEqual(running.await_nobody(), {})

    def test_a_daemon_that_cannot_start(self):
        running = RunningBench("--ranks", "2", "--transport", "rc")
        code, out, errors = running.finish(30)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("--transport rc", errors)
        self.assertEqual(running.await_nobody(), {})


class AttachedToOneOfTwoRanks(unittest.TestCase):
    def test_the_load_of_one_rank_reaches_the_keys_of_both(self):
        with tempfile.TemporaryDirectory(prefix="copykv-e2e-") as directory:
            meet = os.path.join(directory, "meet")
            os.mkdir(meet)
            flags = ["--ranks", "2", "--memory", "64MiB", "--rendezvous", f"file://{meet}"]
            daemons = [DaemonProcess([*flags, "--rank", str(rank)], runtime_dir=directory)
                       for rank in range(2)]
            first = subprocess.Popen([str(daemons[0].program), *flags, "--rank", "0"],
                                     env=daemons[0].environment(), stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
            try:
                with daemons[1]:
                    done = subprocess.run(
                        [BENCHKV, "--attach", "--rank", "1", "--client-threads", "2", "--duration",
                         "1", "--warmup", "0", "--json", "-"], env=daemons[1].environment(),
                        capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
            finally:
                first.terminate()
                first.wait(30)
        self.assertEqual(done.returncode, 0, done.stderr)
        run = json.loads(done.stdout)["runs"][0]
        self.assertEqual((run["ranks_reporting"], run["errors"]["total"]), (1, 0))
        for where in ("local", "remote"):
            self.assertGreater(run["latency_ns"][f"get_{where}"]["count"]
                               + run["latency_ns"][f"put_{where}"]["count"], 0)
        self.assertEqual(run["ranks"][0]["rank"], 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
