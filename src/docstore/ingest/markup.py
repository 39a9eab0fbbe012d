"""Text out of HTML and Markdown, as a reader sees it: nothing that is shown is lost, joined, or decoded twice.

`inscriptis` lays the text out. What its defaults drop or change is made up for here, each with its reason.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from docstore.ingest.extraction import Unreadable

if TYPE_CHECKING:
    from inscriptis.model.html_document_state import HtmlDocumentState
    from inscriptis.model.table import TableRow
    from lxml.html import HtmlElement
    from markdown_it.token import Token

FRONT_MATTER = re.compile(r"\A---\n[\w-]+:.*\n(?:[\w-]+:.*\n|[ \t#-].*\n|\n)*?(?:---|\.\.\.)(?:\n|\Z)")
"""YAML before a Markdown text. Not all between two rules: the first line names a key."""

_DEEPEST = 1_000_000  # markdown-it drops silently what nests deeper than this: let Python's recursion limit refuse it
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
# What libxml2 does not know, such as <main>, it leaves in the head where no <body> was written.
_HIDDEN = "base link meta script style title"
# The HTML standard's own style sheet: these begin on a line of their own.
_BLOCKS = (
    "caption center dd details dialog dir dl dt fieldset form hr legend menu optgroup option search section summary "
    "tbody tfoot thead"
)
_RAW = "iframe noembed noframes plaintext script style textarea title xmp"  # whose content HTML takes for no markup
_RAW_BEGIN = re.compile(rf"<(?=({'|'.join(_RAW.split())})\b)", re.IGNORECASE)
_RAW_END = re.compile(rf"</({'|'.join(_RAW.split())})\b", re.IGNORECASE)


def html_text(content: str) -> str:
    """The text of an HTML page.

    Raises:
        Unreadable: it cannot be parsed to its end.
    """
    import lxml.html
    from lxml.etree import ParserError

    # inscriptis.get_text parses with libxml2's defaults, which drop everything after a text of 10 MB or a nesting of
    # 256, and only write so into a log. Hence our own parser, with the log read.
    parser = lxml.html.HTMLParser(huge_tree=True)
    content = _XML_DECLARATION.sub("", content, count=1)
    try:
        tree = lxml.html.document_fromstring(content, parser=parser)
    except ParserError:  # nothing but comments or white space
        return ""
    if fatal := [entry.message for entry in parser.error_log if entry.level_name == "FATAL"]:
        raise Unreadable("corrupt", f"the HTML cannot be parsed to its end ({fatal[0][:200]}). Simplify it first.")
    # What follows </html> is beside the tree: a list's footer, or the next of several pages in one file.
    trees = [tree, *(each for each in tree.itersiblings() if isinstance(each.tag, str))]
    return "\n".join(filter(str.strip, map(_laid_out, trees)))


def _laid_out(tree: HtmlElement) -> str:
    import inscriptis
    from inscriptis.model.config import ParserConfig
    from inscriptis.model.html_element import HtmlElement as Style
    from inscriptis.model.tag import CustomHtmlTagHandlerMapping

    tags = set()
    for element in tree.iter():
        if isinstance(element.tag, str):
            tags.add(element.tag)
        # inscriptis decodes what is decoded already: `&copy=1` in an address would become `©=1`.
        for name in ("text", "tail"):
            if "&" in (text := getattr(element, name) or ""):
                setattr(element, name, text.replace("&", "&amp;"))
    # Elements that have no style of their own are shown as what they are in: code within <pre> keeps its lines.
    styles = _styles()
    inherited = {tag: Style(whitespace=None) for tag in tags - styles.keys()}
    handlers = CustomHtmlTagHandlerMapping(start_tag_mapping={}, end_tag_mapping={"table": _end_table})
    config = ParserConfig(css={**inherited, **styles}, custom_html_tag_handler_mapping=handlers)
    return str(inscriptis.Inscriptis(tree, config).get_text())


@cache
def _styles() -> dict[str, Any]:
    from inscriptis.css_profiles import CSS_PROFILES
    from inscriptis.html_properties import Display
    from inscriptis.model.html_element import HtmlElement as Style

    own = {tag: Style(display=Display.none) for tag in _HIDDEN.split()}
    own |= {tag: Style(display=Display.block) for tag in ("head", *_BLOCKS.split())}
    return {**CSS_PROFILES["strict"], **own}


def _end_table(state: HtmlDocumentState) -> None:
    from inscriptis.model.tag.table_tag import table_end_handler

    state.current_table[-1] = _Table(state.current_table[-1].rows)
    table_end_handler(state)


class _Table:
    """As inscriptis writes a table, but without filling cells up: one long cell would make all others mostly blank."""

    def __init__(self, rows: list[TableRow]) -> None:
        self._rows = rows

    def get_text(self) -> str:
        """A line for each line of a row."""
        lines = []
        for row in self._rows:
            for cell in row.columns:
                cell.normalize_blocks()
            columns = [cell.blocks for cell in row.columns]
            lines += [row.cell_separator.join(each).rstrip() for each in zip_longest(*columns, fillvalue="")]
        return "\n".join([*lines, ""])

    def get_annotations(self, *_: int) -> list[object]:
        """None: nobody asked for any."""
        return []


def markdown_text(content: str) -> str:
    """The text of a Markdown document with one kind of line end, and of the HTML in it.

    Raises:
        Unreadable: as `html_text`.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
    tokens = parser.parse(FRONT_MATTER.sub("", content))
    for token in tokens:
        for each in (token, *(token.children or ())):
            _show_unclosed(each)
    html = parser.renderer.render(tokens, parser.options, {})
    return html_text(html) if html.strip() else ""


def _show_unclosed(token: Token) -> None:
    """Of HTML that would hide all that follows, since nothing ends it, the sign that begins it is text: somebody writes
    about a tag."""
    if token.type not in ("html_block", "html_inline"):
        return
    ends = {found[1].lower(): found.start() for found in _RAW_END.finditer(token.content)}  # the last of each

    def shown(found: re.Match[str]) -> str:
        return "&lt;" if ends.get(found[1].lower(), -1) < found.start() else "<"

    content = _RAW_BEGIN.sub(shown, token.content)
    if content.rfind("-->") < (begin := content.rfind("<!--")):
        content = f"{content[:begin]}&lt;{content[begin + 1 :]}"
    token.content = content
