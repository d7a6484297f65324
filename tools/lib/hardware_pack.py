# SPDX-License-Identifier: Apache-2.0
"""What tools/hardware-check sends back: names and addresses of the site taken out, one archive."""
import io
import json
import pathlib
import re
import socket
import tarfile

OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
HEX = "[0-9a-fA-F]{1,4}"
ADDRESSES = [
    re.compile(rf"(?<![\w.])(?:::[fF]{{4}}:)?(?:{OCTET}\.){{3}}{OCTET}(?![\w.])"),
    # MAC addresses, GUIDs, GIDs and IPv6 addresses; a time of day has fewer parts.
    re.compile(rf"(?<![\w:])(?:{HEX}:){{3,15}}{HEX}(?![\w:])"),
    re.compile(rf"(?<![\w:])(?:{HEX}(?::{HEX})*)?::(?:{HEX}(?::{HEX})*)?(?![\w:])"),
]
LOOPBACK = {"127.0.0.1", "0.0.0.0", "::1", "::"}


class Cleaner:
    """Takes host names, addresses, and the paths of this user out of texts."""

    def __init__(self, hosts, paths, keep_names=False):
        names = {socket.gethostname(), socket.getfqdn(), *hosts}
        names |= {name.split(".")[0] for name in names if not name[:1].isdigit()}
        names = {name for name in names if name and name not in ("localhost", *LOOPBACK)}
        longest_first = sorted(names, key=len, reverse=True)
        self.names = [re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])", re.I)
                      for name in longest_first]
        self.paths = [(str(path), word) for path, word in paths if str(path) != "/"]
        self.keep_names = keep_names

    def __call__(self, text):
        if self.keep_names:
            return text
        for path, word in self.paths:
            text = text.replace(path, word)
        for pattern in ADDRESSES:
            text = pattern.sub(lambda found: found[0] if found[0] in LOOPBACK else "ADDRESS", text)
        for pattern in self.names:
            text = pattern.sub("HOST", text)
        return text

    def all(self, value):
        """The same for every text in a JSON value."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.all(one) for one in value]
        if isinstance(value, dict):
            return {key: self.all(one) for key, one in value.items()}
        return value


def write_pack(path, folder, results, clean):
    """results.json first, then the files of the steps."""
    top = pathlib.Path(path).name.removesuffix(".tar.gz")
    with tarfile.open(path, "w:gz") as pack:
        def add(name, text):
            content = text.encode()
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode = len(content), 0o644
            pack.addfile(entry, io.BytesIO(content))

        add("results.json", json.dumps(clean.all(results), indent=2) + "\n")
        for file in sorted(folder.iterdir()):
            if file.is_file():
                add(file.name, clean(file.read_text(errors="replace")))
