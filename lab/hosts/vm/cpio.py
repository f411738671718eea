"""A file tree in memory, and the archive the kernel unpacks it from (initramfs, "newc" cpio)."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import IO

_HEADER = "070701" + 13 * "%08X"


@dataclass(frozen=True, slots=True)
class Node:
    """A file, folder or symbolic link (its content is where it points). Everything is root's."""

    mode: int  # with the type, as in stat(2)
    content: bytes = b""


FOLDER = Node(stat.S_IFDIR | 0o755)


def link(target: str) -> Node:
    """A symbolic link to `target`."""
    return Node(stat.S_IFLNK | 0o777, target.encode())


def file(content: bytes, permissions: int = 0o644) -> Node:
    """A regular file."""
    return Node(stat.S_IFREG | permissions, content)


@dataclass(slots=True)
class Tree:
    """Nodes by path (no leading slash)."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, path: str, node: Node) -> None:
        """Put `node` at `path`, with the folders above it; a folder never replaces anything."""
        parent = path.rpartition("/")[0]
        if parent and parent not in self.nodes:
            self.add(parent, FOLDER)
        if node.mode != FOLDER.mode or path not in self.nodes:
            self.nodes[path] = node

    def write(self, stream: IO[bytes]) -> None:
        """Write the archive (the kernel's Documentation/driver-api/early-userspace/buffer-format).

        Parents stand before their children; times are 0, so that equal trees give equal bytes.
        """
        for number, path in enumerate(sorted(self.nodes), 1):
            _entry(stream, number, path, self.nodes[path])
        _entry(stream, 0, "TRAILER!!!", Node(0))


def _entry(stream: IO[bytes], number: int, path: str, node: Node) -> None:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(node.mode) else 1
    # inode mode uid gid links time size, device and rdev numbers, name size, checksum
    fields = (number, node.mode, 0, 0, links, 0, len(node.content), 0, 0, 0, 0, len(name), 0)
    head = (_HEADER % fields).encode() + name
    stream.write(head + bytes(-len(head) % 4))
    stream.write(node.content + bytes(-len(node.content) % 4))
