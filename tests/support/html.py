"""Reads a page as a browser would, and complains of what a browser would only forgive."""

import base64
import hashlib
import re
from collections.abc import Iterator
from itertools import pairwise
from xml.etree.ElementTree import Element

import html5lib

_XHTML = "{http://www.w3.org/1999/xhtml}"
#: What may stand in a page of ours besides elements with text in them.
_ACTIVE = {"script", "iframe", "object", "embed", "form", "base", "img", "audio", "video", "link"}


class Page:
    """A parsed page. Raises html5lib's ParseError for one that is not well-formed."""

    def __init__(self, body: bytes) -> None:
        self.text = body.decode("utf-8")
        self.root: Element = html5lib.HTMLParser(strict=True).parse(self.text)

    def all(self, tag: str) -> list[Element]:
        """Return the elements of a name, in HTML or in a drawing."""
        return [each for each in self.root.iter() if _name(each) == tag]

    def one(self, tag: str) -> Element:
        """Return the only element of a name."""
        found = self.all(tag)
        assert len(found) == 1, f"{len(found)} of {tag}"
        return found[0]

    def by_id(self, name: str) -> Element:
        """Return the element of an id, which only one has."""
        found = [each for each in self.root.iter() if each.get("id") == name]
        assert len(found) == 1, f"{len(found)} with id {name}"
        return found[0]

    def links(self) -> list[str]:
        """Return where links lead to."""
        return [each.get("href", "") for each in self.all("a")]

    def rows(self, section: str) -> list[list[str]]:
        """Return the texts of a section's table, its head first."""
        part = self.by_id(section)
        return [
            [words(cell) for cell in row if _name(cell) in ("th", "td")]
            for row in part.iter(f"{_XHTML}tr")
        ]

    def active(self) -> list[str]:
        """Return the elements that load or do something."""
        return [_name(each) for each in self.root.iter() if _name(each) in _ACTIVE]

    def handlers(self) -> Iterator[str]:
        """Yield attributes that would run a script, or that the policy would block."""
        for each in self.root.iter():
            yield from (name for name in each.attrib if name.startswith("on") or name == "style")

    def check(self, policy: str) -> None:
        """Check what must hold for every page: it loads nothing, and has its order."""
        assert list(self.handlers()) == []
        assert set(self.active()) <= {"link", "script"}
        assert [each.get("href", "")[:15] for each in self.all("link")] == ["data:image/svg+"]
        for each in self.all("style") + self.all("script"):
            digest = hashlib.sha256((each.text or "").encode()).digest()
            assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy
            assert not each.get("src")
        ids = [each.get("id") for each in self.root.iter() if each.get("id")]
        assert len(ids) == len(set(ids))
        levels = [int(_name(each)[1]) for each in self.root.iter() if _name(each) in _HEADINGS]
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
        for part in self.all("section"):
            assert words(self.by_id(part.get("aria-labelledby", "")))
        for table in self.all("table"):
            assert words(table[0]), "a table without a caption"
            assert _name(table[0]) == "caption"
            for cell in table.iter(f"{_XHTML}th"):
                assert cell.get("scope") in ("col", "row")
        for drawing in self.all("svg"):
            named = drawing.get("role") == "img" and drawing.get("aria-label")
            assert named or drawing.get("aria-hidden") == "true"
        for landmark in ("header", "main", "footer"):
            self.one(landmark)
        assert self.root.get("lang") == "en"
        assert self.links()[0] == "#main", "the first link skips to the content"
        targets = [each for each in self.links() if each.startswith("#")]
        for target in targets:
            self.by_id(target[1:])


_HEADINGS = {"h1", "h2", "h3", "h4"}


def words(element: Element) -> str:
    """Return an element's text, in one line."""
    return re.sub(r"\s+", " ", " ".join(element.itertext())).strip()


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
