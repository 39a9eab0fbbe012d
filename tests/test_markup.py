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
                "Name  Days\nAnn  30\nSmith"),
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
    "what is hidden": ("Text <!-- not this --> here.\n\n<style>\np {}\n</style>\n\nEnd.\n", "Text here.\n\nEnd."),
}  # fmt: skip


@pytest.mark.parametrize(("markdown", "expected"), _MARKDOWN.values(), ids=_MARKDOWN)
def test_markdown(markdown: str, expected: str) -> None:
    found = markdown_text(markdown).strip()
    assert " ".join(found.split()) == " ".join(expected.split())
    if "code" in markdown or "    " in expected:
        assert found == expected


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
