"""What a pattern matches: globs over whole URIs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from earmark.transforms.storage import STAGING_PREFIX, ListingError, is_staging_folder, shown


def is_glob(pattern: str) -> bool:
    """Whether a pattern contains wildcards."""
    return _GLOB_SIGN.search(pattern) is not None


@lru_cache(maxsize=1024)
def pattern_regex(pattern: str, *, any_case: bool = False) -> re.Pattern[str]:
    """The regular expression of the whole URIs that a glob matches.

    `*` stands for any characters of a name and `?` for one; `[abc]`, `[a-z]` and `[!a-z]` for one
    character in, or not in, a set; `**` for anything at any depth, and `**/` for any folders or
    none. Everything else is literal, as `*` is in `[*]`.

    Raises:
      ListingError: a range is in descending order.
    """
    parts, position = [], 0
    for sign in _GLOB_SIGN.finditer(pattern):
        parts += [re.escape(pattern[position : sign.start()]), _sign_regex(sign)]
        position = sign.end()
    parts.append(re.escape(pattern[position:]))
    try:
        return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if any_case else 0))
    except re.error as error:
        raise ListingError(f"{shown(pattern)}: {error.msg}: a range goes upwards") from error


@dataclass(frozen=True)
class Glob:
    """A pattern with wildcards, over whole URIs.

    It matches nothing in folders of unfinished output, except those that it begins in.
    """

    pattern: str

    def matches(self, uri: str) -> bool:
        """Whether it matches an object."""
        return pattern_regex(self.pattern).fullmatch(uri) is not None and not self._is_staged(uri)

    def reached(self, folder: str) -> frozenset[str]:
        """The beginnings of the pattern that match a folder; none if no match can be in it.

        What the pattern matches in a folder depends only on these, not on the folder's own name.
        """
        inside = os.path.join(folder, "")
        if self._is_staged(inside):
            return frozenset()
        return frozenset(each for each in self._beginnings if pattern_regex(each).fullmatch(inside))

    @cached_property
    def prefix(self) -> str:
        """How everything that it matches begins."""
        parts, position = [], 0
        for sign in _GLOB_SIGN.finditer(self.pattern):
            parts.append(self.pattern[position : sign.start()])
            if sign["none"] or len(sign["one_of"] or "") != 1:
                return "".join(parts)
            parts.append(sign["one_of"])  # a quoted sign, as in [*]
            position = sign.end()
        return "".join([*parts, self.pattern[position:]])

    @cached_property
    def folder(self) -> str:
        """The folder in which everything lies that it matches, at whatever depth."""
        return self.prefix.rpartition("/")[0] or "/"

    @property
    def names_ending(self) -> bool:
        """Whether it says how names end: *.wav, *.mp? and *_left do, ** and 2024* and *.* don't."""
        name = self.pattern.rpartition("/")[2]
        _, dot, ending = name.rpartition(".")
        if dot and ending.strip("*?"):
            return not ending.endswith("*")
        return not name.endswith(("*", "?", "]", "."))

    @cached_property
    def _beginnings(self) -> list[str]:
        """The pattern up to each place where a match can be when a folder's name has ended."""
        return [self.pattern[: place.end()] for place in _FOLDER_ENDS.finditer(self.pattern)]

    def _is_staged(self, uri: str) -> bool:
        folders = uri[len(self.folder.rstrip("/")) :].rpartition("/")[0]
        return STAGING_PREFIX in folders and any(map(is_staging_folder, folders.split("/")))


def _sign_regex(sign: re.Match[str]) -> str:
    if sign["one_of"] is None:
        return {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[sign[0]]
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", sign["one_of"])
    return f"(?!/)[{'^' if sign['none'] else ''}{members}]"


_FOLDER_ENDS = re.compile(r"\*\*|/(?!\*\*)")


_GLOB_SIGN = re.compile(
    r"(?:^|(?<=/))\*\*/ | \*\* | \* | \? | \[ (?P<none>!?) (?P<one_of>\][^]/]*|[^]/]+) \]",
    re.VERBOSE,
)
