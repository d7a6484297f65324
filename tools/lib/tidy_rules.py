# SPDX-License-Identifier: Apache-2.0
"""The rules of tools/tidy. Each takes a Tree and yields Violations; RULES lists them all."""
import dataclasses
import pathlib
import posixpath
import re
import shutil
import subprocess

LINE_COLUMNS_MAX = 100
FILE_LINES_MAX = 400
SPDX = "SPDX-License-Identifier: Apache-2.0"
SKIPPED_DIRECTORIES = re.compile(r"^(\.git|build|build-.*|__pycache__|\.cache)$")
CODE_SUFFIXES = {".cpp", ".hpp"}
SCRIPT_SUFFIXES = {".py", ".sh", ".pml"}

# Who may include whom: the folder order, with the exceptions written out.
MAY_INCLUDE = {
    "base": {"base"},
    "shm": {"base", "shm"},
    "copyrpc": {"base", "copyrpc"},
    "daemon": {"base", "shm", "copyrpc", "daemon"},
    "client": {"base", "shm", "client"},
    "sim": {"base", "shm", "copyrpc", "daemon", "client", "sim"},
    "sim/check": {"base", "sim"},  # the storms of real processes use it as well
    "bench": {"base", "shm", "client", "sim", "bench"},
    "bench/micro": {"base", "shm", "client", "copyrpc", "bench"},  # measures parts by themselves
    "tools": {"base", "shm", "client", "tools"},
    # Finds devices with the code that the daemon finds them with.
    "tools/copykv": {"base", "shm", "copyrpc", "client", "tools"},
    "tests": {"base", "shm", "copyrpc", "daemon", "client", "sim", "bench", "tools", "tests"},
    "examples": {"public"},
}
PUBLIC_HEADER = re.compile(r"^copykv/")
ATOMICS_HEADER = "base/atomics.hpp"
MEMORY_ORDERS = re.compile(
    r"memory_order|atomic_thread_fence|atomic_signal_fence|__ATOMIC_|__atomic_|__sync_")

# This file and its canaries name what they forbid.
EXEMPT_FROM_WORDS = {"tools/lib/tidy_rules.py", "tools/lib/tidy_canaries.py"}
FORBIDDEN_WORDS = [
    (re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"), "unfinished work"),
    (re.compile(r"\b(stubs?|stubbed|placeholders?)\b", re.I), "unfinished work"),
    (re.compile(r"\b(AI|LLM|Claude|ChatGPT|Copilot|language model)\b"), "a tool's name"),
    (re.compile(r"\b(this|our|see|fixes|closes) issue #?\d+|\bissue #\d+", re.I),
     "an issue number"),
    (re.compile(r"(?<![\w.])/(work|root|home/\w+)/"), "a path of one machine"),
]


@dataclasses.dataclass(frozen=True)
class Violation:
    path: str
    line: int
    rule: str
    what: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.what}"


class Tree:
    """The files of a source tree, with their text read once."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self.files = {}
        self._walk(self.root)

    def _walk(self, directory):
        for entry in sorted(directory.iterdir()):
            if entry.is_symlink():
                continue
            if entry.is_dir() and not SKIPPED_DIRECTORIES.match(entry.name):
                self._walk(entry)
            elif entry.is_file():
                text = entry.read_bytes()
                if b"\0" not in text:
                    self.files[str(entry.relative_to(self.root))] = text.decode(errors="replace")

    def code(self):
        return {p: t for p, t in self.files.items() if pathlib.Path(p).suffix in CODE_SUFFIXES}

    def sources(self):
        """Everything that is code: C++, scripts (by suffix or first line), build files."""
        return {p: t for p, t in self.files.items()
                if pathlib.Path(p).suffix in CODE_SUFFIXES | SCRIPT_SUFFIXES
                or t.startswith("#!") or pathlib.Path(p).name == "meson.build"}


def includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^">]+)[">]', line)
        if match:
            yield number, match[1] == '"', match[2]


def include_graph(tree):
    for path, text in tree.code().items():
        folder = path.split("/")[0]
        allowed = MAY_INCLUDE.get(posixpath.dirname(path), MAY_INCLUDE.get(folder, set()))
        for number, quoted, name in includes(text):
            if PUBLIC_HEADER.match(name):
                target = "base" if f"base/include/{name}" in tree.files else "client"
                target = "public" if "public" in allowed else target
            elif not quoted:
                continue
            elif name in tree.files:
                target = name.split("/")[0]
            else:
                yield Violation(path, number, "include-graph",
                                f'"{name}" is no path from the root of the tree')
                continue
            if target not in allowed:
                yield Violation(path, number, "include-graph", f"{folder} may not include {name}")


def licence(tree):
    for path, text in tree.sources().items():
        if not any(SPDX in line for line in text.splitlines()[:2]):
            yield Violation(path, 1, "licence", f"the first line must say {SPDX}")


def line_length(tree):
    for path, text in tree.sources().items():
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > LINE_COLUMNS_MAX:
                yield Violation(path, number, "line-length",
                                f"{len(line)} columns, at most {LINE_COLUMNS_MAX}")


def file_length(tree):
    for path, text in tree.sources().items():
        lines = text.count("\n")
        if lines > FILE_LINES_MAX:
            yield Violation(path, lines, "file-length", f"{lines} lines, at most {FILE_LINES_MAX}")


def words(tree):
    for path, text in tree.files.items():
        if path in EXEMPT_FROM_WORDS or path == "LICENSE":
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, meaning in FORBIDDEN_WORDS:
                match = pattern.search(line)
                if match:
                    yield Violation(path, number, "words", f"'{match[0]}' is {meaning}")


def memory_orders(tree):
    for path, text in tree.code().items():
        if path == ATOMICS_HEADER:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if MEMORY_ORDERS.search(line):
                yield Violation(path, number, "memory-orders",
                                f"only {ATOMICS_HEADER} names memory orders; use publish, observe")


def dead_sources(tree):
    """Every .cpp is built, every header is included."""
    quoted = {p: set(re.findall(r"'([^']*)'", re.sub(r"#.*", "", t)))
              for p, t in tree.files.items() if p.endswith("meson.build")}
    built_paths = {posixpath.normpath(posixpath.join(posixpath.dirname(p), name))
                   for p, names in quoted.items() for name in names}
    included = {name for text in tree.code().values() for _, _, name in includes(text)}
    for path in tree.code():
        pure = pathlib.PurePosixPath(path)
        if pure.suffix == ".hpp":
            if path not in included and path.split("/include/")[-1] not in included:
                yield Violation(path, 1, "dead-file", "no file includes this header")
            continue
        # A foreach over names builds name.cpp or name_test.cpp.
        stems = {pure.stem, pure.stem.removesuffix("_test")}
        listed = any(stems & quoted.get(str(parent / "meson.build"), set())
                     for parent in pure.parents)
        if path not in built_paths and not listed:
            yield Violation(path, 1, "dead-file", "no meson.build builds this file")


def anchors(text):
    """The anchors that GitHub makes of the headings."""
    titles = re.findall(r"^#+\s+(.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def links(tree):
    for path, text in tree.files.items():
        if not path.endswith(".md"):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                full = (tree.root / path).parent / name if name else tree.root / path
                if not full.exists():
                    yield Violation(path, number, "links", f"{target} does not exist")
                elif anchor and full.suffix == ".md" and anchor not in anchors(full.read_text()):
                    yield Violation(path, number, "links", f"{target} names no heading")


def formatting(tree):
    program = shutil.which("clang-format") or shutil.which("clang-format-14")
    paths = list(tree.code())
    if program is None or not paths:
        return
    done = subprocess.run([program, "--dry-run", *paths], cwd=tree.root, capture_output=True,
                          text=True, check=False)
    seen = set()
    for path, number in re.findall(r"^(\S+?):(\d+):\d+: (?:warning|error)", done.stderr, re.M):
        if path not in seen:  # the first place of each file is enough
            seen.add(path)
            yield Violation(path, int(number), "format", f"run clang-format -i {path}")


RULES = [include_graph, licence, line_length, file_length, words, memory_orders, dead_sources,
         links, formatting]


def check(tree):
    return [violation for rule in RULES for violation in rule(tree)]
