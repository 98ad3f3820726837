"""The kind of a file, by its name alone: which reader it needs, and how its text is split.

Never opens a file.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal

FileKind = Literal["plain", "markdown", "code", "html", "pdf", "docx"]
"""Which reader a file needs."""

TextKind = Literal["plain", "markdown", "code"]
"""How a text is split: by paragraphs and sentences, by headings, or by lines."""

PACKED_KINDS = frozenset({"pdf", "docx"})
"""Kinds whose bytes are not text; all others are UTF-8."""

_EXTENSIONS: dict[FileKind, str] = {
    "plain": "txt text rst adoc asciidoc org tex srt vtt",
    "markdown": "md markdown mdown mkd mdx qmd rmd",
    "html": "html htm xhtml",
    "pdf": "pdf",
    "docx": "docx",
    "code": (
        "py pyi pyx js mjs cjs jsx ts mts cts tsx vue svelte java kt kts scala groovy clj cljs "
        "c h cc cpp cxx hh hpp hxx cu m mm cs fs fsx vb go rs zig swift dart rb php pl pm lua r jl "
        "ex exs erl hrl hs lhs ml mli elm nim v sv vhd vhdl sql graphql proto thrift sh bash zsh "
        "fish ps1 bat cmd awk el lisp scm rkt sol tf hcl nix cmake gradle bzl mk asm s css scss "
        "sass less f90 f95 f03 pas adb ads cob d toml yaml yml ini cfg"
    ),
}

KIND_OF_EXTENSION: Mapping[str, FileKind] = MappingProxyType(
    {extension: kind for kind, text in _EXTENSIONS.items() for extension in text.split()}
)
"""By extension in lower case, without its dot."""

_NAMES: dict[FileKind, str] = {
    "plain": (
        "readme license licence copying changelog changes news notice authors contributors "
        "contributing install todo"
    ),
    "code": "makefile dockerfile containerfile jenkinsfile rakefile gemfile",
}

_KIND_OF_NAME: dict[str, FileKind] = {
    name: kind for kind, text in _NAMES.items() for name in text.split()
}


def kind_of(name: str) -> FileKind | None:
    """Return the kind of a file of this name, None where it is unknown."""
    extension = extension_of(name)
    if extension:
        return KIND_OF_EXTENSION.get(extension)
    return _KIND_OF_NAME.get(name.lower())


def extension_of(name: str) -> str:
    """Return what follows the last dot of a name, in lower case; nothing for `.profile`."""
    return PurePosixPath(name).suffix[1:].lower()
