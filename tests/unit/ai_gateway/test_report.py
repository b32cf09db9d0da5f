"""The report, where names of columns and what models say are made to break out of it."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mlapi.ai_gateway.v1 import enhancement_pb2

from services.ai_gateway.rpc.report import Report, html, markdown

HARMLESS = "word"
SIGNS = [*"<>&\"'`|*_~[]()#\\!-=\n\r\t\u2028\u202e\x00$:/{}", "<script>", "](x)", "http://a.b", "word"]


def report(text: str) -> Report:
    """One that has `text` wherever a caller or a model has a say."""
    one = Report(
        state=Report.SUCCEEDED, recommendation=Report.ADOPT, reason=text, data_warnings=[f"The {text}"]
    )
    one.input.MergeFrom(enhancement_pb2.EnhancementInput(job_id=text, task=text, target=text, metric=text))
    arm = one.arms.add(name=text, ran=True, note=text, trial_count=1, best_so_far=[2.0, 1.0])
    arm.best_values.update({text or "x": text})
    one.best.arm = one.best.source = text
    one.best.changes.add(field=text, before=text, after=text)
    one.consultations.add(arm=text, source=text, problem=text, rejections=[text])
    one.evidence.comparison.loss = text
    one.evidence.comparison.candidate.metrics[text] = one.evidence.comparison.baseline.metrics[text] = 1.0
    return one


class Tags(HTMLParser):
    """Every tag of a page, with the names of its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[object] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)


def blocks(text: str) -> list[str]:
    """What the lines of a text are to Markdown, and what stands inside them."""
    found = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        found.append(token.type)
        found += [child.type for child in token.children or () if child.type not in {"text", "text_special"}]
    return found


hostile = given(st.lists(st.sampled_from(SIGNS), max_size=8).map("".join))


@hostile
@example("</td><script>alert(1)</script>")
def test_nothing_that_is_said_becomes_html(text: str) -> None:
    assert Tags(html(report(text))).found == Tags(html(report(HARMLESS))).found


@hostile
@example("a | b\n\n# c\n- [d](javascript:e)")
def test_nothing_that_is_said_becomes_markdown(text: str) -> None:
    assert blocks(markdown(report(text))) == blocks(markdown(report(HARMLESS)))


def test_nothing_turns_the_direction_of_what_is_read() -> None:
    for page in (html, markdown):
        assert "\u202e" not in page(report("a\u202eb"))
