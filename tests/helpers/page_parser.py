"""A page's tags, text and addresses, as a test reads them."""

import base64
from html.parser import HTMLParser


class Page(HTMLParser):
    """What stands in a page: its tags, the text of it, and every address it names."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.pictures, self.words = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]
        assert not [k for k in attributes if k.startswith("on")]
        if tag == "img":
            assert attributes["alt"]
            self.pictures.append(attributes["src"])
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def of_kind(self, kind):
        """Returns the bytes of each picture of a kind."""
        start = f"data:image/{kind};base64,"
        return [base64.b64decode(p[len(start) :]) for p in self.pictures if p.startswith(start)]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())
