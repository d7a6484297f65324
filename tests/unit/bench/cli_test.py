#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""benchkv from the outside: exit codes, documents, signals, faults. Without a service (--backend
null) where the service does not matter, else on a rank of its own.

Usage: cli_test.py BENCHKV COPYKVD COPYKV
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BENCHKV = ""
COPYKV = ""
SHORT = ["--backend", "null", "--duration", "50ms", "--warmup", "0"]


def run(*arguments):
    kept = ("COPYKV_DAEMON",)
    environment = {k: v for k, v in os.environ.items()
                   if k in kept or not k.startswith("COPYKV_")}
    return subprocess.run([BENCHKV, *arguments], capture_output=True, text=True, timeout=60,
                          env=environment, check=False)


def start(*arguments):
    return subprocess.Popen([BENCHKV, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def await_load(*pids):
    """Until each has used so much processor time that it must be in the middle of a run: what comes
    before takes less than 0.4 s of it."""
    deadline = time.monotonic() + 30
    for pid in pids:
        while True:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            if (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > 0.7:
                break
            assert time.monotonic() < deadline, "the load never came"
            time.sleep(0.02)


class Documents(unittest.TestCase):
    def test_stdout_holds_the_document_and_nothing_else(self):
        ended = run(*SHORT, "--json", "-", "--runs", "2")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        document = json.loads(ended.stdout)
        self.assertEqual(document["schema"], 1)
        self.assertEqual(len(document["runs"]), 2)
        for measured in document["runs"]:
            self.assertGreater(measured["operations"], 0)
            self.assertEqual(measured["wrong_values"], 0)
            self.assertEqual(measured["reads_verified"],
                             measured["latency_ns"]["get_local"]["count"])
            self.assertLess(measured["littles_law"]["residual"], 0.01)
        self.assertEqual(document["config"]["duration"], 0.05)
        self.assertEqual(document["config"]["runs"], 2)

    def test_threads_and_processes_report_alike(self):
        for flags in ([], ["--client-processes"]):
            ended = run(*SHORT, "--client-threads", "3", "--json", "-", *flags)
            self.assertEqual(ended.returncode, 0, ended.stderr)
            measured = json.loads(ended.stdout)["runs"][0]
            self.assertEqual(measured["clients_reporting"], 3)
            self.assertEqual(measured["latency_ns"]["all"]["count"], measured["operations"])

    def test_the_table_goes_to_stdout_and_quiet_silences_it(self):
        self.assertIn("all", run(*SHORT).stdout)
        quiet = run(*SHORT, "--quiet")
        self.assertEqual((quiet.returncode, quiet.stdout, quiet.stderr), (0, "", ""))

    def test_hgrm_is_written(self):
        with tempfile.NamedTemporaryFile() as file:
            self.assertEqual(run(*SHORT, "--quiet", "--hgrm", file.name).returncode, 0)
            text = file.read().decode()
        self.assertIn("TotalCount", text)
        self.assertIn("#[Max", text)

    def test_a_sweep_is_one_document_of_points(self):
        with tempfile.NamedTemporaryFile() as file:
            ended = run("sweep", *SHORT, "--queue-depth", "1,4", "--json", file.name)
            self.assertEqual(ended.returncode, 0, ended.stderr)
            document = json.load(file)
            depths = [point["config"]["queue_depth"] for point in document["points"]]
            self.assertEqual((document["schema"], depths), (1, [1, 4]))
            self.assertEqual(run("compare", file.name, file.name).returncode, 0)

    def test_compare_fails_when_a_figure_became_worse(self):
        base = json.loads(run(*SHORT, "--json", "-").stdout)
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("base.json", "new.json")]
            run_of = base["runs"][0]
            for path, factor in zip(paths, (1, 0.9)):  # runs that differ far less than that
                base["runs"] = [{**run_of, "ops_per_second": factor * (1e6 + 1e3 * number)}
                                for number in range(5)]
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(base, file)
            self.assertEqual(run("compare", *paths, "--fail-over", "5%").returncode, 1)
            self.assertEqual(run("compare", *paths, "--fail-over", "15%").returncode, 0)
            self.assertEqual(run("compare", paths[0], "/nonexistent").returncode, 2)


class ExitCodes(unittest.TestCase):
    def test_a_missed_objective_is_named(self):
        ended = run(*SHORT, "--slo", "all.p50<1s", "--slo", "get.p99<1ns")
        self.assertEqual(ended.returncode, 99)
        self.assertIn("get.p99<1ns missed", ended.stdout)
        self.assertIn("all.p50<1s met", ended.stdout)

    def test_usage_errors_are_one_line_and_code_2(self):
        for arguments in (["report"], ["reproduce", "x"], ["model", "x"], ["plan"], ["dance"],
                          ["--ranks", "2", "--backend", "null"], ["--preset", "ycsb-e"],
                          ["--no-such"],
                          ["sweep", *SHORT, "--queue-depth", "1,65"],
                          ["sweep", *SHORT, "--queue-depth", "1,2", "--hgrm", "x"]):
            ended = run(*arguments)
            self.assertEqual((arguments, ended.returncode), (arguments, 2))
            self.assertEqual(len(ended.stderr.strip().splitlines()), 1, ended.stderr)
            self.assertEqual(ended.stdout, "")

    def test_flags_that_contradict_the_launcher_are_refused(self):
        environment = dict(os.environ, OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_RANK="1")
        for flags, line in ((["--ranks", "3"], "as rank 1 of 2"), (["--rank", "0"], "leave the fl"),
                            (["--attach"], "not one per rank"), (SHORT, "--backend null")):
            ended = subprocess.run([BENCHKV, *flags], capture_output=True, env=environment,
                                   timeout=60, check=False, text=True)
            self.assertEqual(ended.returncode, 2)
            self.assertIn(line, ended.stderr)

    def test_a_file_that_cannot_be_written_fails_the_run(self):
        self.assertEqual(run(*SHORT, "--json", "/nonexistent/x.json").returncode, 1)

    def test_no_daemon_is_one_line_with_the_remedy(self):
        with tempfile.TemporaryDirectory() as folder:
            ended = run("--attach", "--runtime-dir", folder, "--job", "none", "--duration", "50ms")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("start `copykvd`", ended.stderr)
        self.assertEqual(len(ended.stderr.strip().splitlines()), 1, ended.stderr)


class Signals(unittest.TestCase):
    LONG = ["--backend", "null", "--duration", "30", "--warmup", "0", "--json", "-"]

    def test_interrupt_reports_what_was_measured(self):
        for flags in ([], ["--client-processes", "--client-threads", "2"],
                      ["--arrival", "poisson", "--rate", "1000"]):
            process = start(*self.LONG, *flags)
            time.sleep(0.5)
            await_load(*(children_of(process.pid) or [process.pid]))
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=20)
            self.assertEqual(process.returncode, 130, errors)
            document = json.loads(out)
            self.assertTrue(document["interrupted"])
            self.assertGreater(document["runs"][0]["operations"], 0)
            self.assertLess(document["runs"][0]["seconds"], 15)

    def test_a_killed_client_process_fails_the_run_and_is_named(self):
        process = start(*self.LONG, "--client-processes", "--client-threads", "2")
        time.sleep(0.5)
        await_load(*children_of(process.pid))
        os.kill(children_of(process.pid)[1], signal.SIGKILL)
        out, errors = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 1)
        self.assertIn("client 1 was killed by signal 9", errors)
        self.assertEqual(json.loads(out)["runs"][0]["clients_reporting"], 1)

    def test_clients_do_not_outlive_a_killed_benchkv(self):
        process = start(*self.LONG, "--client-processes", "--client-threads", "2")
        time.sleep(0.5)
        clients = children_of(process.pid)
        self.assertEqual(len(clients), 2)
        process.kill()
        process.communicate(timeout=20)
        deadline = time.monotonic() + 5
        while any(os.path.exists(f"/proc/{pid}") for pid in clients):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)


def private_dirs():
    root = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
    return {name for name in os.listdir(root) if name.startswith("benchkv-")}


class OwnRank(unittest.TestCase):
    SHORT = ["--duration", "100ms", "--warmup", "0"]

    def test_loads_of_every_kind_are_served_and_verified(self):
        for flags in (["--queue-depth", "64"],
                      ["--client-processes", "--client-threads", "2"],
                      ["--arrival", "poisson", "--rate", "2000"],
                      ["--preset", "ycsb-a", "--key-range", "1000"],
                      ["--preset", "ycsb-d", "--key-range", "1000"],
                      ["--preset", "ycsb-f", "--key-range", "1000", "--queue-depth", "8"],
                      ["--value-bytes", "0-20000", "--key-range", "100", "--key-bytes", "1024"],
                      ["--daemon-threads", "2", "--wait", "park"]):
            with self.subTest(flags=flags):
                before = private_dirs()
                ended = run(*self.SHORT, "--json", "-", *flags)
                self.assertEqual(ended.returncode, 0, ended.stderr)
                document = json.loads(ended.stdout)
                measured = document["runs"][0]
                self.assertGreater(measured["operations"], 0)
                self.assertEqual(measured["errors"]["total"], 0)
                self.assertEqual(len(measured["daemons"]), document["config"]["daemon_threads"])
                served = sum(round(daemon["per_turn"]["requests"] * daemon["turns"])
                             for daemon in measured["daemons"])
                # A get of a long value may take two requests: the first learns the length.
                self.assertGreaterEqual(served, measured["operations"])
                if document["config"]["value_bytes"] == "8":
                    self.assertEqual(served, measured["operations"])
                self.assertLessEqual(private_dirs(), before)

    def test_a_killed_daemon_fails_the_run_soon(self):
        for flags in (["--queue-depth", "16"], ["--arrival", "constant", "--rate", "5000"]):
            process = start("--duration", "30", "--warmup", "0", "--json", "-", *flags)
            time.sleep(0.5)
            await_load(process.pid)
            began = time.monotonic()
            os.kill(children_of(process.pid)[0], signal.SIGKILL)
            out, errors = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 1)
            self.assertLess(time.monotonic() - began, 10)
            self.assertIn("copykvd was killed by signal 9", errors)
            failed = json.loads(out)["runs"][0]["errors"]
            self.assertGreaterEqual(failed["total"], 1)

    def test_a_daemon_that_cannot_start_is_one_line_with_its_reason(self):
        ended = run(*self.SHORT, "--memory", "1KiB")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("--memory", ended.stderr)
        self.assertEqual(len(ended.stderr.strip().splitlines()), 1, ended.stderr)

    def test_the_daemon_does_not_outlive_a_killed_benchkv(self):
        process = start("--duration", "30", "--warmup", "0", "--quiet")
        time.sleep(0.5)
        await_load(process.pid)
        daemon = children_of(process.pid)[0]
        before = private_dirs()
        process.kill()
        process.communicate(timeout=20)
        deadline = time.monotonic() + 15
        while os.path.exists(f"/proc/{daemon}"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        for name in before:  # nobody was left to remove it
            shutil.rmtree(os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/tmp", name), True)


class Attached(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        environment = dict(os.environ, COPYKV_RUNTIME_DIR=self.folder.name, COPYKV_JOB="attached")
        self.environment = environment
        self.daemon = subprocess.Popen([os.environ["COPYKV_DAEMON"]], env=environment, text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.assertTrue(self.daemon.stdout.readline().startswith("ready"))

    def tearDown(self):
        self.daemon.terminate()
        self.daemon.communicate(timeout=20)
        self.folder.cleanup()

    def bench(self, *arguments):
        return subprocess.Popen([BENCHKV, "--attach", *arguments], env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_a_daemon_that_runs_already_is_used_and_left_alone(self):
        out, errors = self.bench("--duration", "100ms", "--json", "-").communicate(timeout=60)
        self.assertEqual(json.loads(out)["runs"][0]["errors"]["total"], 0, errors)
        self.assertIsNone(self.daemon.poll())

    def test_a_value_that_benchkv_did_not_write_is_wrong_data(self):
        process = self.bench("--duration", "30", "--warmup", "0", "--key-range", "8",
                             "--read-ratio", "1", "--json", "-")
        time.sleep(0.5)
        await_load(process.pid)
        subprocess.run([COPYKV, "put", "00000005", "intruder"], env=self.environment, check=True)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 3)
        self.assertIn("wrong data under key 00000005", errors)
        measured = json.loads(out)["runs"][0]
        self.assertGreater(measured["wrong_values"], 0)
        self.assertEqual(bytes.fromhex(measured["first_wrong_value"]["value_start_hex"]),
                         b"intruder")

    def test_a_lost_key_is_an_error_by_name(self):
        process = self.bench("--duration", "30", "--warmup", "0", "--key-range", "8",
                             "--read-ratio", "1", "--json", "-")
        time.sleep(0.5)
        await_load(process.pid)
        subprocess.run([COPYKV, "del", "00000005"], env=self.environment, check=True)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertGreater(json.loads(out)["runs"][0]["errors"]["not_found"], 0)


class Simulated(unittest.TestCase):
    SIM = ["--transport", "sim", "--ranks", "2", "--client-threads", "2", "--duration", "1ms",
           "--warmup", "0"]

    def test_a_simulated_run_says_so_wherever_it_is_shown(self):
        ended = run(*self.SIM, "--json", "-")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        document = json.loads(ended.stdout)
        self.assertTrue(document["host"]["simulated"])
        self.assertEqual(document["host"]["transport"], "sim")
        self.assertEqual(document["host"]["profile"]["name"], "published-dc")
        measured = document["runs"][0]
        self.assertGreater(measured["copyrpc"]["rtt_ns"]["count"], 100)
        for way in ("remote", "local"):
            stations = measured["stations"][way]
            self.assertEqual(stations["latency_minus_parts_ns"], 0)
            self.assertEqual(sum(part["sum_ns"] for part in stations["parts"]),
                             stations["latency"]["sum_ns"])
        self.assertIn("rank1.send_queue0", [each["name"] for each in measured["resources"]])
        self.assertTrue(run(*self.SIM).stdout.startswith("SIMULATED"))
        self.assertIn("simulated", run("sweep", *self.SIM, "--queue-depth", "1,2").stdout)
        self.assertEqual(run(*self.SIM, "--json", "-").stdout, ended.stdout)

    def test_what_a_simulation_has_not_got_is_refused(self):
        for flags, line in ((["--daemon-threads", "2"], "one daemon"),
                            (["--client-processes"], "--client-processes"),
                            (["--wait", "spin"], "--wait"), (["--attach"], "--attach"),
                            (["--sim-profile", "dance"], "'dance' is no profile"),
                            (["--backend", "null"], "--backend")):
            ended = run(*self.SIM, *flags)
            self.assertIn(ended.returncode, (1, 2), flags)
            self.assertIn(line, ended.stderr)
            self.assertEqual(len(ended.stderr.strip().splitlines()), 1, ended.stderr)
        ended = run(*SHORT, "--sim-send-queues", "2")
        self.assertEqual(ended.returncode, 2)
        self.assertIn("--transport sim only", ended.stderr)

    def test_a_profile_is_compared_with_the_published_figures(self):
        ended = run("fit", "--evaluate", "published-dc", "--duration-ms", "1")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn("SIMULATED", ended.stdout)
        self.assertIn("19 of 19 within 10 %", ended.stdout)
        self.assertNotIn("19 of 19", run("fit", "--evaluate", "faults").stdout)

    def test_the_analysis_is_reproduced_into_a_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            ended = run("reproduce", "rtt-littles-law", "-o", folder, "--runs", "2", "--scale",
                        "0.1", "--group", "rtt", "--group", "one-rank")
            self.assertEqual(ended.returncode, 0, ended.stderr)
            with open(f"{folder}/manifest.json", encoding="utf-8") as file:
                manifest = json.load(file)
            self.assertEqual([group["name"] for group in manifest["groups"]], ["rtt", "one-rank"])
            for group in manifest["groups"]:
                self.assertTrue(group["simulated"])
                for experiment in group["experiments"]:
                    self.assertEqual(len(experiment["files"]), 2)
                    seeds = set()
                    for name in experiment["files"]:
                        with open(f"{folder}/{name}", encoding="utf-8") as file:
                            document = json.load(file)
                        self.assertTrue(document["host"]["simulated"])
                        seeds.add(document["config"]["seed"])
                    self.assertEqual(len(seeds), 2)
            with open(f"{folder}/summary.json", encoding="utf-8") as file:
                experiments = json.load(file)["experiments"]
            rates = [each["ops_per_second"]["median"] for each in experiments
                     if each["group"] == "rtt"]
            self.assertGreater(rates[3], 4 * rates[0])
            with open(f"{folder}/runs.csv", encoding="utf-8") as file:
                self.assertEqual(len(file.readlines()), 1 + 2 * len(experiments))


if __name__ == "__main__":
    BENCHKV, os.environ["COPYKV_DAEMON"], COPYKV = sys.argv[1:4]
    # Others may run benchkv at the same time: what this test counts must be its own.
    OWN_DIR = tempfile.TemporaryDirectory(prefix="bench-cli-")
    os.environ["XDG_RUNTIME_DIR"] = OWN_DIR.name
    del sys.argv[1:4]
    unittest.main(verbosity=2)
