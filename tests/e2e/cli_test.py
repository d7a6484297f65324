#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""copykv, its commands on data: what they print, how they end, what they refuse.

Needs $COPYKV_BUILD_ROOT (or build/).
"""
import base64
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon_process import DaemonProcess, build_root  # noqa: E402

DONE, NO_KEY, USAGE, NO_DAEMON, ERROR = range(5)
VALUE_BYTES_MAX = 1 << 20


class CliTest(unittest.TestCase):
    """Each test has a daemon of its own."""

    def setUp(self):
        self.daemon = DaemonProcess(["--memory", "64MiB", "--max-value-bytes", "1MiB"])
        self.addCleanup(self.daemon.stop)
        self.daemon.start()

    def environment(self):
        return {**self.daemon.environment(), "COPYKV_TIMEOUT": "30s"}  # for slow machines

    def copykv(self, *arguments, stdin=b"", **environment):
        return subprocess.run([build_root() / "tools" / "copykv", *arguments], input=stdin,
                              env={**self.environment(), **environment},
                              capture_output=True, timeout=60, check=False)

    def ends(self, code, *arguments, **options):
        """Runs, compares the exit code, and holds every error to one line; returns stdout."""
        done = self.copykv(*arguments, **options)
        self.assertEqual(done.returncode, code, (arguments, done))
        errors = done.stderr.decode()
        self.error = errors.rstrip("\n")
        if code in (USAGE, NO_DAEMON, ERROR):
            self.assertRegex(errors, r"\Acopykv: [^\n]+\n\Z")
        return done.stdout


class ValuesTest(CliTest):
    def test_put_get_del(self):
        self.assertEqual(self.ends(DONE, "put", "k", "value"), b"")
        self.assertEqual(self.ends(DONE, "get", "k"), b"value")
        self.assertEqual(self.ends(DONE, "get", "--newline", "k"), b"value\n")
        self.assertEqual(self.ends(DONE, "del", "k"), b"")
        self.assertEqual(self.ends(NO_KEY, "get", "k"), b"")
        self.assertIn("no such key 'k'", self.error)
        self.ends(NO_KEY, "del", "k")

    def test_odd_keys_and_values(self):
        for key, value in [("stat", "get"), ("--", "-"), ("-x", "--flag"), ("", "empty"),
                           ("[a,b]", "{}"), ("a=b", "'\""), (b"\xff\x01", b"\x80\n"),
                           ("x" * 1024, ""), ("++", "%%"), ("-5", "-7")]:
            code = ERROR if key == "" else DONE
            if value == "-":
                self.ends(code, "put", "--", key, value, stdin=b"-")
            else:
                self.ends(code, "put", "--", key, value)
            if code == DONE:
                expected = value if isinstance(value, bytes) else value.encode()
                self.assertEqual(self.ends(DONE, "get", "--", key), expected, key)
        self.ends(DONE, "put", "get", "get")  # without --: a key that is called as a command
        self.assertEqual(self.ends(DONE, "get", "get"), b"get")
        self.ends(ERROR, "get", "x" * 1025)
        self.assertIn("1 to 1,024 bytes", self.error)

    def test_values_from_stdin(self):
        everything = bytes(range(256))
        for size in [0, 1, 55, 4095, 4096, 4097, 65_536, VALUE_BYTES_MAX]:
            value = (everything * (size // 256 + 1))[:size]
            self.ends(DONE, "put", "blob", "-", stdin=value)
            self.assertEqual(self.ends(DONE, "get", "blob"), value, size)
        self.ends(ERROR, "put", "blob", "-", stdin=bytes(VALUE_BYTES_MAX + 1))
        self.assertIn("--max-value-bytes", self.error)
        self.assertEqual(len(self.ends(DONE, "get", "blob")), VALUE_BYTES_MAX)  # not touched
        with open("/dev/zero", "rb") as endless:
            done = subprocess.run([build_root() / "tools" / "copykv", "put", "blob", "-"],
                                  stdin=endless, env=self.environment(),
                                  capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, ERROR)

    def test_conditions(self):
        self.ends(DONE, "put", "c", "1", "--if-absent")
        self.ends(NO_KEY, "put", "c", "2", "--if-absent")
        self.assertIn("already", self.error)
        self.ends(DONE, "put", "c", "3", "--if-present")
        self.ends(NO_KEY, "put", "absent", "3", "--if-present")
        version = self.ends(DONE, "exists", "c").split()[1].decode()
        self.ends(DONE, "put", "c", "4", "--if-version", version)
        self.ends(NO_KEY, "put", "c", "5", "--if-version", version)
        self.assertIn("stands at version", self.error)
        self.assertEqual(self.ends(DONE, "get", "c"), b"4")
        self.ends(USAGE, "put", "c", "6", "--if-absent", "--if-version", "1")

    def test_exists(self):
        self.ends(DONE, "put", "e", "12345")
        self.assertRegex(self.ends(DONE, "exists", "e"), rb"\Aversion [1-9][0-9]* bytes 5\n\Z")
        done = self.copykv("exists", "missing")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (NO_KEY, b"", b""))

    def test_add(self):
        self.assertEqual(self.ends(DONE, "add", "n", "5"), b"5\n")
        self.assertEqual(self.ends(DONE, "add", "n", "-12"), b"-7\n")
        self.assertEqual(self.ends(DONE, "get", "n"), b"-7")
        self.ends(DONE, "put", "n", str(2 ** 63 - 1))
        self.ends(ERROR, "add", "n", "1")
        self.ends(DONE, "put", "n", "seven")
        self.ends(ERROR, "add", "n", "1")
        self.assertIn("no 64-bit decimal number", self.error)
        self.ends(USAGE, "add", "n", "1.5")
        self.ends(USAGE, "add", "n", str(2 ** 63))
        self.ends(USAGE, "add", "n", "0x10")
        self.assertEqual(self.ends(DONE, "add", "ten", "010"), b"10\n")  # no octal
        self.assertEqual(self.ends(DONE, "add", "least", str(-2 ** 63)), b"%d\n" % -2 ** 63)

    def test_expiry(self):
        self.ends(DONE, "put", "t", "v", "--ttl", "300ms")
        self.ends(DONE, "put", "kept", "v", "--ttl", "300ms")
        self.ends(DONE, "touch", "kept", "0")
        self.ends(DONE, "put", "cut", "v")
        self.ends(DONE, "touch", "cut", "300ms")
        time.sleep(0.4)
        self.ends(NO_KEY, "get", "t")
        self.ends(NO_KEY, "get", "cut")
        self.ends(DONE, "get", "kept")
        self.ends(NO_KEY, "touch", "t", "1s")
        self.ends(USAGE, "touch", "kept", "soon")
        self.ends(USAGE, "put", "t", "v", "--ttl", "50d")


class FilesTest(CliTest):
    def empty(self):
        for line in self.ends(DONE, "dump").splitlines():
            self.ends(DONE, "del", "--", json.loads(line)["key"])

    def load(self, code, text, *flags):
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
            file.write(text)
            file.flush()
            self.path = file.name
            done = self.copykv("load", file.name, *flags)
        self.assertEqual(done.returncode, code, done)
        return done.stderr.decode()

    def test_round_trip(self):
        chance = random.Random(1)
        records = [{"key": f"key {i} \u00e9\n\u20ac",
                    "value": "\u0000\"" + "v" * chance.randrange(9000)} for i in range(50)]
        records += [{"key": f"f{i}", "value": "", "flags": i} for i in (1, 7, 2 ** 32 - 1)]
        text = "".join(json.dumps(record) + "\n" for record in records).encode()
        self.assertRegex(self.load(DONE, text), r"\Aloaded 53 records, .*, 0 errors, in .*\n\Z")
        dumped = self.ends(DONE, "dump")
        by_key = sorted((json.loads(line) for line in dumped.splitlines()), key=lambda r: r["key"])
        self.assertEqual(by_key, sorted(records, key=lambda record: record["key"]))
        self.assertEqual(self.ends(DONE, "get", records[5]["key"]).decode(), records[5]["value"])

        self.empty()
        self.assertEqual(self.ends(DONE, "dump"), b"")
        self.ends(DONE, "load", "-", stdin=dumped)
        self.assertEqual(sorted(self.ends(DONE, "dump").splitlines()), sorted(dumped.splitlines()))

    def test_binary(self):
        chance = random.Random(2)
        records = {chance.randbytes(1 + i): chance.randbytes(chance.choice([0, 40, 5000, 300_000]))
                   for i in range(100)}
        text = "".join(json.dumps({"key": base64.b64encode(key).decode(),
                                   "value": base64.b64encode(value).decode()}) + "\n"
                       for key, value in records.items()).encode()
        self.load(DONE, text, "--base64")
        dumped = [json.loads(line) for line in self.ends(DONE, "dump", "--base64").splitlines()]
        self.assertEqual({base64.b64decode(record["key"]): base64.b64decode(record["value"])
                          for record in dumped}, records)

    def test_bytes_that_are_no_text_are_refused(self):
        for key, value in [(b"bad\xff", b"v"), (b"good", b"\xc3")]:
            self.ends(DONE, "put", key, value)
            self.ends(ERROR, "dump")
            self.assertIn("--base64", self.error)
            self.assertIn(r"bad\xff" if key == b"bad\xff" else "good", self.error)
            self.ends(DONE, "del", key)

    def test_malformed_line_stops_the_load(self):
        good = [json.dumps({"key": f"k{i}", "value": "v"}).encode() for i in range(1, 8)]
        for bad, why in [(b"{\"key\": 1}", "is no string"), (b"nonsense", "is no JSON"),
                         (b"", "is no JSON"), (b"{\"key\": \"k\"}", "no \"value\""),
                         (b"{\"key\":\"k\",\"value\":\"\xff\"}", "is no JSON")]:
            self.empty()
            error = self.load(ERROR, b"\n".join(good[:3] + [bad] + good[3:]))
            self.assertIn(f"{self.path}:4: ", error)
            self.assertIn(why, error)
            self.assertIn("expected {\"key\"", error)
            self.assertIn("3 records before it are loaded, none after", error)
            self.assertEqual(len(self.ends(DONE, "dump").splitlines()), 3)

    def test_refused_puts_are_counted(self):
        lines = [json.dumps({"key": key, "value": "v"}) for key in ["a", "", "b", "x" * 1025, "c"]]
        error = self.load(ERROR, "\n".join(lines).encode())
        self.assertRegex(error, r"\Aloaded 3 records, .*, 2 errors, .*\n"
                                r"copykv: .*:2: a key has 1 to 1,024 bytes.*\n\Z")
        self.assertEqual(len(self.ends(DONE, "dump").splitlines()), 3)

    def test_files_that_cannot_be_read_or_written(self):
        self.ends(ERROR, "load", "/nonexistent/file")
        self.assertIn("/nonexistent/file", self.error)
        self.ends(ERROR, "load", "/tmp")
        with open("/dev/zero", "rb") as endless, open("/dev/full", "wb") as full:
            for arguments, files in [(["load", "-"], {"stdin": endless}),
                                     (["info"], {"stdout": full})]:
                done = subprocess.run([build_root() / "tools" / "copykv", *arguments],
                                      env=self.environment(), stderr=subprocess.PIPE,
                                      timeout=60, check=False, **files)
                self.assertEqual(done.returncode, ERROR, arguments)
                self.assertRegex(done.stderr, rb"\Acopykv: [^\n]+\n\Z")

    def test_memory_full(self):
        value = "v" * 500_000
        lines = "".join(json.dumps({"key": f"k{i}", "value": value}) + "\n" for i in range(200))
        error = self.load(ERROR, lines.encode())
        self.assertIn("no space for 'k", error)
        loaded = int(error.split()[1])
        self.assertTrue(0 < loaded < 200, error)
        self.assertEqual(len(self.ends(DONE, "dump").splitlines()), loaded)


class CommandLineTest(CliTest):
    def test_usage(self):
        for arguments in [[], ["nonsense"], ["get"], ["get", "a", "b"], ["put", "k"],
                          ["--rank", "x", "get", "k"], ["--job", "../x", "get", "k"],
                          ["--timeout", "0", "get", "k"], ["get", "k", "--nonsense"],
                          ["ping", "--count", "0"], ["top", "--interval", "1ms"],
                          ["put", "k", "v", "--flags", "4294967296"], ["load"]]:
            self.ends(USAGE, *arguments)

    def test_help_and_version(self):
        self.assertIn(b"doctor", self.ends(DONE, "--help"))
        self.assertIn(b"--if-version", self.ends(DONE, "put", "--help"))
        self.assertRegex(self.ends(DONE, "--version"), rb"\Acopykv [0-9.]+\n\Z")

    def test_no_daemon(self):
        for arguments in [["get", "k"], ["put", "k", "v"], ["del", "k"], ["exists", "k"],
                          ["add", "k", "1"], ["touch", "k", "1s"], ["load", "-"], ["dump"],
                          ["stat"], ["top", "--once"], ["ping"], ["info"]]:
            self.ends(NO_DAEMON, *arguments, "--job", "absent")
            self.assertIn("copykvd", self.error)
            self.ends(NO_DAEMON, *arguments, "--rank", "7")

    def test_precedence(self):
        with tempfile.NamedTemporaryFile(suffix=".toml", mode="w") as file:
            file.write("job = 'filed'\ntimeout = '3s'\n")
            file.flush()
            shown = self.ends(DONE, "--config", file.name, "--timeout", "7s", "--print-config",
                              COPYKV_JOB="exported", COPYKV_TIMEOUT="1s").decode()
            self.assertIn("job = \"exported\"  # environment COPYKV_JOB\n", shown)
            self.assertIn("timeout = \"7s\"  # flag\n", shown)
            self.assertIn("rank = 0  # default\n", shown)
            shown = self.ends(DONE, "--config", file.name, "--print-config").decode()
            self.assertIn(f"job = \"filed\"  # file {file.name}\n", shown)
        self.ends(DONE, "put", "k", "v")
        self.ends(NO_DAEMON, "get", "k", COPYKV_JOB="absent")
        self.assertEqual(self.ends(DONE, "get", "k", "--job", "default", COPYKV_JOB="absent"), b"v")

    def test_ping_and_info(self):
        self.assertRegex(self.ends(DONE, "ping", "--count", "2000"),
                         rb"\Arank 0 daemon 0: 2,000 round trips, min .*, p50 .*, max .*\n\Z")
        info = json.loads(self.ends(DONE, "info", "--json"))
        self.assertEqual(info["daemon_pid"], self.daemon.pid)
        self.assertEqual(info["value_bytes_max"], VALUE_BYTES_MAX)
        self.assertTrue(pathlib.Path(info["socket_path"]).is_socket())
        rdma = info["rdma"]
        self.assertIn(rdma["auto"], ("rc", "ofi-tcp"))
        self.assertTrue(rdma["ports"] or rdma["none"], rdma)
        self.assertTrue(rdma["why"].startswith("auto: " + rdma["auto"]), rdma)
        self.assertIn(b"daemon_threads       1\n", self.ends(DONE, "info"))


if __name__ == "__main__":
    unittest.main()
