"""Text out of HTML and Markdown, as a reader sees it: nothing that is shown is lost, joined, or decoded twice.

`inscriptis` lays the text out. What its defaults drop or change is made up for here, each with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from docstore.ingest.extraction import Unreadable

if TYPE_CHECKING:
    from inscriptis.model.html_document_state import HtmlDocumentState
    from inscriptis.model.table import TableRow
    from lxml.html import HtmlElement
    from markdown_it.token import Token

FRONT_MATTER = re.compile(r"\A---\n\w[\w-]*:.*\n(?:[ \t#-].*\n|\w[\w-]*:.*\n)*?\n?(?:---|\.\.\.)(?:\n|\Z)")
"""YAML before a Markdown text. Not all between two rules: the first line names a key, and no line is blank."""

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
_SPACES = re.compile(r"\s+")
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)
_LATE = ("script", "style")
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

    _mend_inscriptis()
    tags = set()
    for element in tree.iter():
        if isinstance(element.tag, str):
            tags.add(element.tag)
    # Elements that have no style of their own are shown as what they are in: code within <pre> keeps its lines.
    styles = _styles()
    inherited = {tag: Style(whitespace=None) for tag in tags - styles.keys()}
    handlers = CustomHtmlTagHandlerMapping({"ol": _start_list}, {"table": _end_table})
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


@cache
def _mend_inscriptis() -> None:
    """From here on it decodes nothing that is decoded already, as it would `&copy=1` in an address; and a line of many
    elements takes time by its length, not by the square of it. It has no switch for either."""
    from inscriptis.model.canvas import block

    def append(self: block.Block, text: str) -> None:
        # In place: CPython extends a text that one local name alone has, and copies one that an attribute has too.
        content, self._content = self._content, ""
        content += text
        self._content = content
        self.idx += len(text)

    def merge_normal_text(self: block.Block, text: str) -> None:
        text = _SPACES.sub(" ", text)
        if self.collapsable_whitespace:
            text = text.removeprefix(" ")
        if text:
            self.collapsable_whitespace = text.endswith(" ")
            append(self, text if self._content else self.prefix.first + text)

    def merge_pre_text(self: block.Block, text: str) -> None:
        append(self, self.prefix.first + text.replace("\n", "\n" + self.prefix.rest))
        self.collapsable_whitespace = False

    block.Block.merge_normal_text = merge_normal_text
    block.Block.merge_pre_text = merge_pre_text


def _start_list(state: HtmlDocumentState, attributes: Mapping[str, str]) -> None:
    """As inscriptis starts one, but with the number that it starts with."""
    start = attributes.get("start", "")
    state.li_counter.append(int(start) if _NUMBER.fullmatch(start) else 1)


def _end_table(state: HtmlDocumentState) -> None:
    from inscriptis.model.tag.table_tag import table_end_handler

    state.current_table[-1] = _Table(state.current_table[-1].rows)
    table_end_handler(state)


class _Table:
    """As inscriptis writes a table, but without filling cells up: one long cell would make all others mostly blank."""

    def __init__(self, rows: list[TableRow]) -> None:
        self._rows = rows

    def get_text(self) -> str:
        """A line for each row, or for each line of its cells."""
        lines = []
        for row in self._rows:
            for cell in row.columns:
                cell.normalize_blocks()
            columns = [_without_last_blanks(cell.blocks) for cell in row.columns]
            if all(len(each) == 1 for each in columns):
                lines.append(row.cell_separator.join(each for (each,) in columns))
            else:  # one cell after the other: side by side, the lines of one would come between those of another
                lines += [line for each in columns for line in each]
        return "\n".join([*(line.rstrip() for line in lines), ""])

    def get_annotations(self, *_: int) -> list[object]:
        """None: nobody asked for any."""
        return []


def _without_last_blanks(lines: Sequence[str]) -> Sequence[str]:
    count = len(lines)
    while count > 1 and not lines[count - 1].strip():
        count -= 1
    return lines[:count]


def markdown_text(content: str) -> str:
    """The text of a Markdown document with one kind of line end, and of the HTML in it.

    Raises:
        Unreadable: as `html_text`.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
    tokens = parser.parse(FRONT_MATTER.sub("", content))
    _show_unclosed([
        (number, each)
        for number, token in enumerate(tokens)
        for each in (token, *(token.children or ()))
        if each.type in ("html_block", "html_inline")
    ])  # fmt: skip
    html = parser.renderer.render(tokens, parser.options, {})
    return html_text(html) if html.strip() else ""


def _show_unclosed(pieces: list[tuple[int, Token]]) -> None:
    """Of HTML that would hide all that follows, since nothing ends it, the sign that begins it is text: somebody writes
    about a tag. A script or a style may end in a later block, other tags in their own.

    Args:
        pieces: HTML as it was written, and the number of the block that it is in.
    """
    ends: dict[tuple[int | None, str], tuple[int, int]] = {}  # the last of each
    for at, (block, token) in enumerate(pieces):
        for found in _RAW_END.finditer(token.content):
            tag = found[1].lower()
            ends[block, tag] = ends[None, tag] = at, found.start()
    for at, (block, token) in enumerate(pieces):

        def shown(found: re.Match[str], at: int = at, block: int = block) -> str:
            tag = found[1].lower()
            end = ends.get((None if tag in _LATE else block, tag), (-1, 0))
            return "&lt;" if end < (at, found.start()) else "<"

        content = _RAW_BEGIN.sub(shown, token.content)
        if content.rfind("-->") < (begin := content.rfind("<!--")):
            content = f"{content[:begin]}&lt;{content[begin + 1 :]}"
        token.content = content
