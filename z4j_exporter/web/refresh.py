"""How often the status page renews itself: what can be chosen, and what was."""

from typing import NamedTuple
from urllib.parse import parse_qsl

from z4j_exporter.web.markup import Html, element, link, text

#: Seconds between two refreshes; None is never. The first holds where nothing is chosen.
CHOICES: tuple[int | None, ...] = (5, 15, 60, None)
#: Fields of a query string.
_FIELDS_MOST = 20
_WORDS = {f"{each or 'off'}": each for each in CHOICES}

NO_CHOICE = f"refresh must be one of {', '.join(_WORDS)}"


class Refresh(NamedTuple):
    """How often a page renews itself."""

    #: None: never.
    seconds: int | None

    @property
    def links(self) -> Html:
        """The choices; where one is, is marked."""
        items = [
            element(
                "li",
                link(
                    f"./?refresh={each or 'off'}",
                    text(f"{each} s" if each else "off"),
                    aria_current="true" if each == self.seconds else None,
                ),
            )
            for each in CHOICES
        ]
        return element(
            "nav",
            element("span", text("Refresh"), id="refresh"),
            element("ul", *items),
            aria_labelledby="refresh",
            class_="refresh",
        )


def chosen(query_string: bytes) -> Refresh | None:
    """Return what ``?refresh=`` asks for, the default without it; None for anything else."""
    try:
        pairs = parse_qsl(
            query_string.decode("latin-1"), max_num_fields=_FIELDS_MOST, keep_blank_values=True
        )
    except ValueError:  # too many fields
        return None
    word = dict(pairs).get("refresh", str(CHOICES[0]))
    return Refresh(_WORDS[word]) if word in _WORDS else None
