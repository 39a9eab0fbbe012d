"""HTML and Markdown become what a reader sees: nothing is lost, joined, or decoded twice."""

from __future__ import annotations

import time

import pytest

from docstore import Limits
from docstore.ingest.extract import extract
from docstore.ingest.markup import html_text, markdown_text

_HTML = {
    "two pages in one file": (
        "<html><body><p>Monday.</p></body></html>\n<html><head><title>x</title></head><body><p>Friday.</p></body></html>",
        "Monday.\n\nFriday.",
    ),
    "a list's footer": ("<html><body><p>A mail.</p></body></html><!-- x --><p>Unsubscribe here.</p>",
                        "A mail.\n\nUnsubscribe here."),
    "no body was written": (
        "<!DOCTYPE html><title>Terms</title><header>Cancel within 14 days.</header><main><p>Thank you.</p></main>",
        "Cancel within 14 days.\n\nThank you.",
    ),
    "a head": ("<html><head><title>T</title><meta name=a><style>p{}</style><script>x()</script></head>Text", "Text"),
    "addresses": ("<p>http://h/?a=1&amp;copy=2&amp;region=eu</p>", "http://h/?a=1&copy=2&region=eu"),
    "code": ("<pre>init(&amp;params, &amp;notes);</pre>", "init(&params, &notes);"),
    "escaped entities": ("<p>Write &amp;lt; for &lt;.</p>", "Write &lt; for <."),
    "lines of code": ("<pre><code>if a:\n    <b>b</b>()\n</code></pre>", "if a:\n    b()"),
    "elements that nobody knows": ("<pre><x-line>a\n  b</x-line></pre>", "a\n  b"),
    "spaces elsewhere": ("<p>a  <code>b   c</code>\n d</p>", "a b c d"),
    "a list of terms": ("<dl><dt>Notice</dt><dd>Three months</dd><dt>Leave</dt><dd>Thirty days</dd></dl>",
                        "Notice\nThree months\nLeave\nThirty days"),
    "sections": ("<section>One</section><section>Two</section><details><summary>More</summary>Text</details>",
                 "One\nTwo\nMore\nText"),
    "choices": ("<select><option>Red</option><option>Green</option></select>", "Red\nGreen"),
    "a table": ("<table><tr><th>Name</th><th>Days</th></tr><tr><td>Ann<br>Smith</td><td>30</td></tr></table>",
                "Name  Days\nAnn\nSmith\n30"),
    "entities in a table": ("<table><tr><td>&amp;quot; a &amp;copy=1</td></tr></table>", "&quot; a &copy=1"),
    "control characters": ("<p>a &#8; AT&amp;T</p>", "a \x08 AT&T"),
    "numbers of a list": ("<ol start=3><li>a</li><li value=7>b</li></ol><ol start=x><li>c</li></ol>",
                          "3. a\n 7. b\n 1. c"),
    "a table in a table": ("<table><tr><td><table><tr><td>a</td><td>b</td></tr></table></td><td>c</td></tr></table>",
                           "a  b  c"),
}  # fmt: skip


@pytest.mark.parametrize(("html", "expected"), _HTML.values(), ids=_HTML)
def test_html(html: str, expected: str) -> None:
    assert html_text(html).strip() == expected


_MARKDOWN = {
    "front matter": ("---\ntitle: x\ntags:\n- a\n  # note\n\n---\n# Head\n", "Head"),
    "front matter that ends in dots": ("---\ntitle: x\n...\nText\n", "Text"),
    "rules": ("---\n\n# One\n\nThe deadline is Friday.\n\n---\n\n# Two\n", "One\n\nThe deadline is Friday.\n\nTwo"),
    "a rule and a sentence": ("---\nIt ends in March.\n\n---\n\nRest.\n", "It ends in March.\n\nRest."),
    "indented code": ("Run:\n\n    if a:\n        b()\n", "Run:\n\nif a:\n    b()"),
    "fenced code": ("```yaml\na:\n  - &copy b\n```\n", "a:\n  - &copy b"),
    "a tag in prose": ("Put a <title> tag first.\n\nThen <script>, and </html> last.\n\nEnd.\n",
                       "Put a <title> tag first.\n\nThen <script>, and last.\n\nEnd."),
    "a tag on its own": ("<style>\n\nEnd.\n", "<style>\n\nEnd."),
    "a comment without end": ("<!-- to do\n\nEnd.\n", "<!-- to do\n\nEnd."),
    "a warning between rules": ("---\nWarning: keep away.\n\n# Safety\n\n---\n\nUse.\n",
                                "Warning: keep away.\n\nSafety\n\nUse."),
    "a script in prose": ("A <script>alert(1)</script> and <textarea>typed</textarea> text.\n", "A and typed text."),
    "a list that goes on": ("1. One\n\n```sh\nls\n```\n\n2. Two\n", "1. One\n\nls\n\n\n  2. Two"),
    "a style with blank lines": ("<div><style>\n\np {}\n\n</style></div>\n\nEnd.\n", "End."),
    "what is hidden": ("Text <!-- not this --> here.\n\n<style>\np {}\n</style>\n\nEnd.\n", "Text here.\n\nEnd."),
}  # fmt: skip


@pytest.mark.parametrize(("markdown", "expected"), _MARKDOWN.values(), ids=_MARKDOWN)
def test_markdown(markdown: str, expected: str) -> None:
    found = markdown_text(markdown).strip()
    assert " ".join(found.split()) == " ".join(expected.split())
    if "code" in markdown or "    " in expected:
        assert found == expected


def test_markdown_may_begin_with_html() -> None:
    text = '<h1 align="center">T</h1>\n\n# X\n\nsee [a](http://b)\n\n```js\nlet a = Map<String>()\nb()\n```\n'
    found = extract(text.encode(), Limits())
    assert found.media_type == "text/markdown"
    assert "let a = Map<String>()\nb()\n" in found.text
    assert extract(text.encode(), Limits(), "text/html").media_type == "text/html"  # what it was stored as
    assert extract(b"<!DOCTYPE html><p># X</p>[a](http://b)", Limits()).media_type == "text/html"


def test_a_line_of_many_elements_takes_no_time_by_the_square() -> None:
    def seconds(elements: int) -> float:
        began = time.process_time()
        html_text("<pre>" + "<span>let x</span>\n" * elements)
        return time.process_time() - began

    seconds(100)
    assert seconds(80_000) < 3 * 8 * seconds(10_000)


def test_one_long_cell_does_not_fill_a_table_with_blanks() -> None:
    rows = "".join(f"<tr><td>note {number}</td><td>{number}</td></tr>" for number in range(1000))
    html = f"<html><table><tr><td>{'long ' * 600}</td><td>0</td></tr>{rows}</table></html>"
    text = extract(html.encode(), Limits()).text
    assert len(text) < len(html)
    assert "note 999  999\n" in text


@pytest.mark.parametrize("tag", ["<title>", "<!--", "<script>"])
def test_what_is_never_closed_takes_no_time_by_the_square(tag: str) -> None:
    began = time.process_time()
    markdown_text(f"{tag}\n" * 50_000)
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("---\nname: x\n" + "--option: x\n" * 60 + "end\n", id="front matter without an end"),
        pytest.param("<!-- a --> " * 60 + "text", id="comments before plain text"),
    ],
)
def test_no_pattern_takes_time_by_a_power(text: str) -> None:
    began = time.process_time()
    assert extract(text.encode(), Limits()).media_type == "text/plain"
    assert time.process_time() - began < 5
