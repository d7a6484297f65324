#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/hardware-check: on the emulated device, and on the guest's two devices.

    hardware_check_test.py SOURCE_ROOT emulated|rxe      $COPYKV_BUILD_ROOT names the build
"""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import unittest

ROOT, FORM = pathlib.Path(sys.argv[1]), sys.argv[2]
BUILD = pathlib.Path(os.environ["COPYKV_BUILD_ROOT"])
sys.path.insert(0, str(ROOT / "tools" / "lib"))
from hardware_pack import Cleaner  # noqa: E402  (the path comes first)

SECONDS_MAX = 300  # it takes 60 s where nothing else runs; an emulated processor may get little
PORT = 18_800
FACTS = ["facts-devices", "facts-doctor", "facts-processors"]
STEPS = [*FACTS, "conformance-rc", "conformance-dc", "perftest-latency", "perftest-bandwidth",
         "perftest-rate", "pingpong-rc", "rate-rc", "pingpong-dc", "rate-dc", "sweep-rc-loop",
         "sweep-rc-clocked", "sweep-dc-loop", "sweep-dc-clocked"]
DC = {step for step in STEPS if "-dc" in step}
PERFTEST = {step for step in STEPS if step.startswith("perftest")}
NEED_DEVICE = {"facts-devices"} | {step for step in STEPS
                                   if step.startswith(("perftest", "sweep", "pingpong"))}
MATRIX = {(contexts, inline, messages)
          for contexts in (1, 2) for inline in (True, False) for messages in (1, 2, 4, 8)}
# Not loopback, and not a version or a time of day.
ADDRESS = re.compile(r"\b10\.0\.0\.[12]\b|(?<![\w:])(?:[0-9a-f]{2}:){5,}[0-9a-f]{2}(?![\w:])")


class Pack:
    """What an archive holds."""

    def __init__(self, path):
        with tarfile.open(path) as pack:
            self.files = {pathlib.Path(entry.name).name: pack.extractfile(entry).read().decode()
                          for entry in pack.getmembers()}
        self.results = json.loads(self.files["results.json"])
        self.steps = {step["name"]: step for step in self.results["steps"]}


class HardwareCheck(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="copykv-hw-test-")
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)

    def command(self, *flags, build=BUILD):
        return [ROOT / "tools" / "hardware-check", "--quick", "--build", build, *flags]

    def check(self, *flags, code=0, build=BUILD):
        path = self.folder / "pack.tar.gz"
        done = subprocess.run(self.command("--output", path, *flags, build=build),
                              capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
        print(done.stdout)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return Pack(path)

    def expect_steps(self, pack, skipped, failed=()):
        """Every step is there, with what it ran and how that ended."""
        self.assertEqual(list(pack.steps), STEPS)
        may_be_skipped = {name for name, program in zip(FACTS, ("ibv_devinfo", "", "lscpu"))
                          if program and shutil.which(program) is None}
        for name, step in pack.steps.items():
            self.assertGreaterEqual(step["seconds"], 0)
            self.assertIn("command", step)
            if step["skipped"]:
                self.assertIn(name, skipped | may_be_skipped, step)
                continue
            self.assertNotIn(name, skipped, step)
            self.assertTrue(step["command"] and step["files"], step)
            self.assertTrue(all(file in pack.files for file in step["files"]), step)
            self.assertEqual(bool(step["failed"]), name in failed,
                             (step, [pack.files[file] for file in step["files"]]))
            if name not in failed:
                self.assertEqual(step["exit_code"], 0)

    def expect_matrix(self, pack, transport):
        rows = json.loads(pack.files[f"rate-{transport}.json"])
        self.assertEqual({(row["contexts"], row["inline"], row["messages"]) for row in rows},
                         MATRIX)
        for row in rows:
            self.assertEqual(row["transport"], transport)
            self.assertTrue(row.get("skipped") or row["posts_per_second"] > 0, row)

    def expect_no_names(self, pack):
        name = socket.gethostname()
        for file, text in pack.files.items():
            self.assertIsNone(ADDRESS.search(text), file)
            if len(name) > 3:
                self.assertIsNone(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), file)
            self.assertNotIn(str(ROOT), text, file)


@unittest.skipUnless(FORM == "emulated", "of the emulated device")
class Emulated(HardwareCheck):
    def test_all_that_one_process_can_run(self):
        pack = self.check("--emulated")
        self.expect_steps(pack, NEED_DEVICE)
        self.expect_no_names(pack)
        for transport in ("rc", "dc"):
            self.expect_matrix(pack, transport)
        rows = json.loads(pack.files["rate-dc.json"])
        self.assertEqual([row["messages"] for row in rows if row.get("skipped")], [8, 8],
                         "192 bytes are more than a DC request carries")
        self.assertIn("All tests passed", pack.files["conformance-dc.txt"])
        self.assertTrue(pack.results["machine"]["kernel"])

    def test_a_step_that_fails_or_is_not_built_does_not_end_the_others(self):
        build = self.folder / "build"
        for name in ("tools", "tests/emulated_mlx5"):
            (build / name).mkdir(parents=True)
        (build / "tools" / "copykv").symlink_to(BUILD / "tools" / "copykv")
        broken = build / "tests" / "emulated_mlx5" / "post_rate_emulated"
        broken.write_text("#!/bin/sh\necho broken; exit 3\n")
        broken.chmod(0o755)
        pack = self.check("--emulated", build=build, code=1)
        self.expect_steps(pack, NEED_DEVICE | {"conformance-rc", "conformance-dc"},
                          failed={"rate-rc", "rate-dc"})
        self.assertEqual(pack.steps["rate-rc"]["exit_code"], 3)
        self.assertEqual(pack.files["rate-rc.txt"], "broken\n")
        self.assertIn("is not built", pack.steps["conformance-rc"]["skipped"])

    def test_nothing_to_measure(self):
        done = subprocess.run(self.command("--devices", "no_such_device"), capture_output=True,
                              text=True, timeout=SECONDS_MAX, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"\Ahardware-check: (no device is called|this machine has)")

    def test_names_and_addresses_are_taken_out(self):
        clean = Cleaner(["node7.example.org"], [("/src/copykv", "ROOT")])
        for before, after in (
                ("from node7.example.org (node7)", "from HOST (HOST)"),
                ("10.1.2.3:18700 and ::ffff:10.1.2.3", "ADDRESS:18700 and ADDRESS"),
                ("gid fe80::5054:ff:fe12:3456", "gid ADDRESS"),
                ("GID: 00:00:00:00:00:00:00:00:00:00:255:255:10:00:00:01", "GID: ADDRESS"),
                ("node_guid: 5054:00ff:fe12:3456", "node_guid: ADDRESS"),
                ("mac 52:54:00:12:34:56", "mac ADDRESS"),
                ("/src/copykv/build at 08:46:19, fw 22.35.1012, tcp://127.0.0.1:1, a::Node",
                 "ROOT/build at 08:46:19, fw 22.35.1012, tcp://127.0.0.1:1, a::Node")):
            self.assertEqual(clean(before), after)
        self.assertEqual(clean.all({"a": ["node7", 1, None]}), {"a": ["HOST", 1, None]})
        self.assertEqual(Cleaner(["node7"], [], keep_names=True)("node7"), "node7")


@unittest.skipUnless(FORM == "rxe", "of the guest's devices")
class SoftRoce(HardwareCheck):
    def setUp(self):
        super().setUp()
        self.skipped = DC | (PERFTEST if shutil.which("ib_write_lat") is None else set())

    def expect_ratios(self, pack):
        ratios = pack.results["ratios"]["rc"]
        self.assertGreater(ratios["round_trip_over_plain_verbs"], 0)
        self.assertGreater(ratios["rate_over_plain_verbs"], 0)
        if "perftest-latency" not in self.skipped:
            self.assertGreater(ratios["latency_over_ib_write_lat"], 0)
        return ratios

    def test_one_host_with_two_devices(self):
        only = ["perftest-latency", "pingpong-rc"]
        pack = self.check("--devices", "rxe0,rxe1", "--only", ",".join(only))
        self.expect_steps(pack, (set(STEPS) - set(only)) | self.skipped)
        self.expect_ratios(pack)
        self.assertIn("not asked for", pack.steps["rate-rc"]["skipped"])

    def test_two_hosts(self):
        with subprocess.Popen(self.command("--listen", str(PORT), "--device", "rxe1")) as listener:
            try:
                pack = self.check("--device", "rxe0", "--peer", f"10.0.0.2:{PORT}")
                self.assertEqual(listener.wait(20), 0)
            finally:
                listener.kill()
        self.expect_steps(pack, self.skipped)
        self.expect_no_names(pack)
        self.expect_matrix(pack, "rc")
        if "perftest-latency" not in self.skipped:
            self.assertGreater(self.expect_ratios(pack)["bandwidth_over_ib_write_bw"], 0)
        self.assertIn("no DC", pack.steps["rate-dc"]["skipped"])
        for flush in ("loop", "clocked"):
            self.assertIn("\"runs\"", pack.files[f"sweep-rc-{flush}.json"])
        self.assertEqual((pack.results["device"], pack.results["other_device"]), ("rxe0", "rxe1"))
        for step in ("facts-doctor", "conformance-rc", "rate-rc"):
            self.assertEqual(pack.steps[step]["there"]["exit_code"], 0, step)
            self.assertIn(f"{step}.there.txt", pack.files)
        self.expect_doctor(json.loads(pack.files["facts-doctor.txt"]))

    def expect_doctor(self, document):
        """What `copykv doctor` says of these devices."""
        rdma = document["rdma"]
        self.assertEqual({port["device"] for port in rdma["ports"]}, {"rxe0", "rxe1"})
        self.assertEqual((rdma["auto"], rdma["none"]), ("rc", ""))
        for port in rdma["ports"]:
            self.assertEqual((port["link"], port["rc"], port["dc"]), ("RoCE", True, False), port)
            self.assertIn("no DC", port["dc_reason"])
            for limit in ("max_qp", "max_qp_wr", "max_srq_wr", "max_cqe", "rc_inline_bytes"):
                self.assertGreater(port[limit], 0, limit)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
