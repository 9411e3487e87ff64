from __future__ import annotations

import base64
import dataclasses
import hashlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.reporting import synthetic
from ttfm.reporting import build
from ttfm.reporting.labels import LEARNS
from ttfm.reporting.page import build_page, embed, linked, teacher_words
from ttfm.reporting.provenance import provenance

VOID = {"meta", "link", "img", "source", "br", "input"}


class Document(HTMLParser):
    """Collects elements and text, and insists that every element is closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.content: dict[str, str] = {}
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("style", "script"):
            self.content[self.open[-1]] = self.content.get(self.open[-1], "") + data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def document(page: Path) -> Document:
    return Document(page.read_text(encoding="utf-8"))


def test_every_image_is_embedded_and_described(document):
    images = document.all("img")
    assert len(images) == 14
    for image in images:
        assert image["src"].startswith("data:image/") and len(image["alt"]) > 60
        assert int(image["width"]) > 0 and int(image["height"]) > 0
    assert len(document.all("source")) == 8


def test_nothing_is_loaded_from_anywhere(document):
    for tag, attrs in document.elements:
        for name, value in attrs.items():
            if name in ("src", "srcset", "data", "poster", "action", "background") or (name, tag) == ("href", "link"):
                assert value.startswith("data:"), (tag, name)
            assert not name.startswith("on") and name != "style"
    assert "url(" not in document.content["style"] and "@import" not in document.content["style"]
    links = {attrs["href"] for attrs in document.all("a") if not attrs["href"].startswith("#")}
    assert links and all(link.startswith("https://arxiv.org/abs/") for link in links)


def test_the_policy_names_exactly_the_inlined_files(document):
    policy = next(m["content"] for m in document.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'" and directives["img-src"] == "data:"
    for directive, tag in (("style-src", "style"), ("script-src", "script")):
        digest = base64.b64encode(hashlib.sha256(document.content[tag].encode()).digest()).decode()
        assert directives[directive] == f"'sha256-{digest}'"
    assert "unsafe" not in policy


def test_hostile_names_are_text(page, document):
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text and len(document.all("script")) == 1
    assert synthetic.HOSTILE in document.text and synthetic.NO_WEIGHTS in document.text


FREE = ("title", "description", "note", "source", "family", "imported", "about", "method", "budget", "reason")
"""Keys of an experiment and of its records whose text a user, or a file of a user's, is free to choose."""


def hostile(value, key=""):
    """``value`` with every free text turned into markup."""
    if isinstance(value, dict):
        return {name: hostile(part, name) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(hostile(part, key) for part in value)
    return f"{synthetic.HOSTILE} {value}" if isinstance(value, str) and key in FREE else value


def test_every_free_text_is_text(data):
    problem = next(iter(data.experiment["problems"]))
    printed = {"metric": "fid", "about": "x", "rows": [{"method": "m", "source": "s", "values": {"1": 2.0}}]}
    plan = hostile(data.experiment)
    plan["problems"][problem] |= {"published": hostile(printed), "imported": synthetic.HOSTILE}
    failed = data.metrics.assign(reason=data.metrics["reason"].map(lambda reason: reason and synthetic.HOSTILE))
    changed = dataclasses.replace(data, experiment=plan, metrics=failed, records=hostile(data.records))
    files = build.figure_files(data.folder / "figures", data.experiment)
    text = build_page(changed, files, hostile(provenance(data)), [synthetic.HOSTILE])
    assert "<script>alert" not in text
    document = Document(text)
    assert len(document.all("script")) == 1
    assert document.text.count("<script>alert(1)</script>") > 20


def test_size(page):
    assert page.stat().st_size < 10_000_000


def test_sections_come_in_order_and_every_anchor_exists(document):
    sections = [attrs["id"] for attrs in document.all("section")]
    assert sections == [
        *("headline", "findings", "ranking", "problem-1", "problem-2", "cost", "methods"),
        *("notes", "failed", "reproduce", "provenance"),
    ]
    ids = [attrs["id"] for _, attrs in document.elements if attrs.get("id")]
    assert len(ids) == len(set(ids))
    for attrs in document.all("a"):
        assert not attrs["href"].startswith("#") or attrs["href"][1:] in ids
    for _, attrs in document.elements:
        if attrs.get("aria-labelledby"):
            assert attrs["aria-labelledby"] in ids


def test_tables_are_complete(document, summary):
    # One headline, one of ranks, fourteen metrics, two of cost: sortable. Methods and failures are not.
    classes = [attrs["class"].split() for attrs in document.all("table")]
    assert sum("sortable" in names for names in classes) == 18 and len(classes) == 20
    best = [attrs for attrs in document.all("td") if attrs.get("class") == "best"]
    headline = summary[summary["metric"].isin(["endpoint_rmse", "fd-digits"])]
    assert len(best) == int(summary["best"].sum()) + int(headline["best"].sum())


def test_reconstruction_and_missing_teacher_are_said(document):
    text = " ".join(document.text.split())
    assert "ITVM: a reconstruction. Only the abstract of arXiv 2505.01169 could be had" in text
    assert f"{synthetic.HOSTILE}: without a teacher. It starts from random weights" in text
    assert "as many as it takes to see as many samples as the problem's teacher saw" in text


def test_failures_notes_and_provenance(document):
    text = " ".join(document.text.split())
    for part in (
        synthetic.REASON,
        "re-noising leaves the ODE path",
        synthetic.COMMIT,
        "(clean)",
        "torch 2.15.0",
        "25 min 00 s from the first start to the last end",
        "make report EXPERIMENT=workflow/experiments/synthetic.yaml",
        '"iterations": 6000',
        LEARNS["to_data"],
    ):
        assert part in text, part


def test_arxiv_numbers_become_links():
    assert linked("arXiv 2511.13019; see <b>") == [
        ("arXiv 2511.13019", "https://arxiv.org/abs/2511.13019"),
        ("; see <b>", ""),
    ]


def test_missing_figures_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cost\.svg does not exist; draw the figures"):
        embed(tmp_path / "cost.svg", "alt", "caption")


def test_the_page_says_where_a_teacher_comes_from():
    card = {"teacher": "learned", "imported": None}
    assert teacher_words(card) == teacher_words({"teacher": "learned"}) == "learned by flow matching"
    assert teacher_words(card | {"teacher": "closed_form"}) == "known in closed form"
    assert teacher_words(card | {"imported": "theirs.pt"}) == "imported, not trained here: theirs.pt"


def test_paragraphs_follow_the_plan(data, results):
    """Neither remark appears where no student calls for it, and a dirty tree is said."""
    changed = {"loss": "x", "starts_from_teacher": True}
    students = {name: about | changed for name, about in data.experiment["students"].items()}
    experiment = data.experiment | {"students": students}
    found = provenance(data) | {"dirty": True, "wall_seconds": None}
    figures = build.figure_files(results / "figures", experiment)
    text = build_page(dataclasses.replace(data, experiment=experiment), figures, found, [])
    assert "a reconstruction" not in text.replace("(reconstruction)", "") and "without a teacher" not in text
    assert "with uncommitted changes" in text and 'id="notes"' not in text
