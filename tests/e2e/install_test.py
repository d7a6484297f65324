#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs into a staging directory, then compiles and runs a program against nothing but that.

    install_test.py BUILD_DIRECTORY SOURCE_DIRECTORY
"""
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

from daemon_process import DaemonProcess

PROGRAM = r"""
#include <copykv/client.hpp>
#include <cstdio>

int main() {
  auto attached = copykv::Client::attach({});
  if (!attached.client) return std::fprintf(stderr, "%s\n", attached.error.c_str()), 3;
  copykv::Client& kv = *attached.client;
  if (!kv.put("installed", "yes").ok()) return 1;
  return kv.get("installed").value == "yes" ? 0 : 1;
}
"""


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: code {done.returncode}\n"
                 f"{done.stdout}{done.stderr}")
    return done.stdout


def only(directory, pattern):
    found = sorted(directory.rglob(pattern))
    if len(found) != 1:
        sys.exit(f"{len(found)} files match {pattern} in the staged tree, expected one: {found}")
    return found[0]


def main():
    build, source = sys.argv[1], pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="copykv-install-") as directory:
        stage = pathlib.Path(directory) / "stage"
        run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", str(stage)])
        pc_file = only(stage, "copykv.pc")
        environment = {**os.environ, "PKG_CONFIG_PATH": str(pc_file.parent),
                       "PKG_CONFIG_SYSROOT_DIR": str(stage)}
        flags = shlex.split(run(["pkg-config", "--cflags", "--libs", "copykv"], env=environment))
        (pathlib.Path(directory) / "program.cpp").write_text(PROGRAM)
        sources = {"program": "program.cpp"}
        sources |= {p.stem: str(p) for p in (source / "examples").glob("*.cpp")}
        for name, path in sources.items():
            run(["g++", path, "-o", name, *flags], cwd=directory)
        if any(str(source) in flag for flag in flags):
            sys.exit(f"copykv.pc leads back to the source tree: {flags}")
        library = only(stage, "libcopykv.so")
        with DaemonProcess(program=only(stage, "copykvd")) as daemon:
            run([f"{directory}/program"],
                env={**daemon.environment(), "LD_LIBRARY_PATH": str(library.parent)})
            run([str(only(stage / "usr", "bin/copykv")), "get", "installed"],
                env={**daemon.environment(), "LD_LIBRARY_PATH": str(library.parent)})


if __name__ == "__main__":
    main()
