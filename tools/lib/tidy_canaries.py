# SPDX-License-Identifier: Apache-2.0
"""A checker that has never been seen to fail proves nothing: one planted violation per rule."""
import pathlib
import tempfile

import tidy_rules

LICENCE_LINE = f"// {tidy_rules.SPDX}\n"
MESON = f"# {tidy_rules.SPDX}\n"
CLEAN = {
    ".clang-format": "BasedOnStyle: Google\nColumnLimit: 100\n",
    "base/include/copykv/status.hpp": LICENCE_LINE + "#pragma once\n",
    "base/atomics.hpp": LICENCE_LINE + "#pragma once\n// std::memory_order_release\n",
    "base/clock.cpp": LICENCE_LINE
                      + '#include <copykv/status.hpp>\n\n#include "base/atomics.hpp"\n',
    "base/meson.build": MESON + "lib = static_library('base', 'clock.cpp')\n",
    "shm/slot.hpp": LICENCE_LINE + '#pragma once\n#include "base/atomics.hpp"\n',
    "shm/slot.cpp": LICENCE_LINE + '#include "shm/slot.hpp"\n',
    "shm/meson.build": MESON + "lib = static_library('shm', 'slot.cpp')\n",
    "tests/slot_test.cpp": LICENCE_LINE + '#include "shm/slot.hpp"\n',
    "tests/meson.build": MESON + "# Catch2's main\nforeach name : ['slot']\nendforeach\n",
    "README.md": "# copykv\n\n## First steps\n\n[docs](docs/a.md#one-two), [up](#first-steps)\n",
    "docs/a.md": "# One, two\n\nA path such as /var/lib is fine, as is issue 541 elsewhere.\n",
}

# What is written over the clean tree, and the rule that must notice.
CANARIES = [
    ("include-graph", "base/clock.cpp", LICENCE_LINE + '#include "shm/slot.hpp"\n'),
    ("include-graph", "base/clock.cpp", LICENCE_LINE + '#include "slot.hpp"\n'),
    ("include-graph", "examples/a.cpp", LICENCE_LINE + '#include "base/atomics.hpp"\n'),
    ("include-graph", "shm/slot.cpp", LICENCE_LINE + "#include <copykv/client.hpp>\n"),
    ("include-graph", "rogue/a.cpp", LICENCE_LINE + '#include "base/atomics.hpp"\n'),
    ("licence", "shm/slot.cpp", '#include "shm/slot.hpp"\n'),
    ("licence", "tools/run", "#!/bin/sh\nexit 0\n"),
    ("licence", "shm/meson.build", "lib = static_library('shm', 'slot.cpp')\n"),
    ("line-length", "shm/slot.cpp", LICENCE_LINE + "// " + "x" * 98 + "\n"),
    ("file-length", "shm/slot.cpp", LICENCE_LINE + "//\n" * 400),
    ("words", "shm/slot.cpp", LICENCE_LINE + "// TODO: finish\n"),
    ("words", "shm/slot.cpp", LICENCE_LINE + "// a Placeholder\n"),
    ("words", "docs/a.md", "# One, two\n\nWritten by an AI.\n"),
    ("words", "docs/a.md", "# One, two\n\nSee issue 7.\n"),
    ("words", "docs/a.md", "# One, two\n\nLook into /root/x.\n"),
    ("memory-orders", "shm/slot.cpp", LICENCE_LINE + "// std::memory_order_relaxed\n"),
    ("memory-orders", "shm/slot.cpp", LICENCE_LINE + "// __atomic_load_n(p, 0)\n"),
    ("dead-file", "shm/lost.cpp", LICENCE_LINE),
    ("dead-file", "shm/lost.hpp", LICENCE_LINE + "#pragma once\n"),
    ("links", "docs/a.md", "# One, two\n\n[gone](b.md)\n"),
    ("links", "docs/a.md", "# One, two\n\n[gone](../README.md#no-such-heading)\n"),
    ("format", "shm/slot.cpp", LICENCE_LINE + "int  x ;\n"),
]


def found_rules(changes):
    """The rules violated in the clean tree with some files written over."""
    with tempfile.TemporaryDirectory(prefix="copykv-tidy-") as directory:
        root = pathlib.Path(directory)
        for name, text in {**CLEAN, **changes}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return {violation.rule for violation in tidy_rules.check(tidy_rules.Tree(root))}


def run():
    failures = [f"the clean tree violates {rule}" for rule in sorted(found_rules({}))]
    for rule, path, text in CANARIES:
        if rule == "format" and not tidy_rules.shutil.which("clang-format"):
            continue
        if rule not in found_rules({path: text}):
            failures.append(f"{rule} did not notice its canary in {path}: {text[-60:]!r}")
    for failure in failures:
        print(failure)
    print(f"tidy self-test: {len(CANARIES)} canaries, {len(failures)} failures")
    return 1 if failures else 0
