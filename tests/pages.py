"""What can be said of an HTML page without a browser."""

import re
from html.parser import HTMLParser

__all__ = ["faults_of"]

VOID = frozenset({"meta", "br", "img"})


class Outline(HTMLParser):
    """The tags of a page with their attributes, and what is wrong with it."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.faults, self.headings, self.empty = [], [], [], [], None

    def handle_starttag(self, tag, attrs):
        own = dict(attrs)
        self.tags.append((tag, own))
        if len(own) < len(attrs):
            self.faults.append(f"{tag}: an attribute twice")
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag in {"th", "figcaption", "summary", "title", "a"}:
            self.empty = tag
        self.faults += [f"{tag}: {message}" for message in self.lacks(tag, own)]

    def lacks(self, tag, own):
        """Say what a tag is without."""
        if any(name.startswith("on") for name in own):
            yield "a script in an attribute"
        if tag in {"script", "link", "iframe", "object", "base"}:
            yield "not for this page"
        if tag == "img" and not own.get("alt"):
            yield "no text for those who do not see it"
        if tag == "svg" and not (own.get("role") == "img" and own.get("aria-label")):
            yield "no text for those who do not see it"
        if tag == "table" and not own.get("aria-label"):
            yield "no name"
        if tag == "th" and own.get("scope") not in {"col", "row"}:
            yield "of a column or a row?"
        if "tabindex" in own and not (own["tabindex"] == "0" and own.get("role") and own.get("aria-label")):
            yield "a stop of the keyboard without a name"
        for name in ("href", "src"):
            if re.match(r"[a-z]+:|//", own.get(name) or ""):
                yield f"{own[name]} is elsewhere"

    def handle_endtag(self, tag):
        if self.empty == tag:
            self.faults.append(f"{tag}: empty")
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another tag")

    def handle_data(self, data):
        if data.strip():
            self.empty = None


def faults_of(text):
    """Return what is wrong with a page, or nothing: tags, names, order of headings, language, width, colours, other files."""
    page = Outline()
    page.feed(text)
    page.close()
    faults = page.faults + [f"{tag} is left open" for tag in page.open]
    ids = [own["id"] for _, own in page.tags if "id" in own]
    if len(set(ids)) < len(ids):
        faults.append("an id twice")
    if page.headings[:1] != [1] or page.headings.count(1) != 1:
        faults.append(f"headings {page.headings}: one of the first level was required, before all others")
    if any(below - above > 1 for above, below in zip(page.headings, page.headings[1:], strict=False)):
        faults.append(f"headings {page.headings}: a level is left out")
    needed = {
        "<!doctype html>": "no doctype",
        "<html lang='en'>": "no language",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>": "not for a phone",
        "<main": "no main part",
        "@media (prefers-color-scheme: dark)": "no colours for the dark",
    }
    faults += [message for part, message in needed.items() if part not in text]
    faults += [f"{part} in it" for part in ("url(", "@import") if part in text]
    return faults
