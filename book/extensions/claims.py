"""A Sphinx extension that draws the page "Claims checked" from the chapters themselves.

A chapter checks a claim in a Markdown cell, and computes it in a code cell with the claim's tag:

    <div class="claim" id="claim-s4a">

    **S4a · corrected.** *Three 3×3 layers … save 81 % of its weights.* They save 45 %: …

    </div>

The directive `claims` with a source's letter and number lists that source's claims, each with its
verdict, what the tagged cell printed, and a link; `claims-summary` counts the verdicts. In the
chapter the claim's label leads to the page.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

PAGE = "book/claims"
VERDICTS = ("confirmed", "in part", "corrected", "answered", "built", "undecided")
DIVISION = re.compile(r'<div class="claim" id="(claim-[\w-]+)">\n\n(.*?)\n\n</div>', re.DOTALL)
HEADING = re.compile(r"\*\*(S\d[^·*]*) · ([a-z ]+)\.\*\*\s+\*([^*]+)\*\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Claim:
    """A claim as its chapter checks it. evidence: what the cells with its tag printed."""

    anchor: str
    label: str
    verdict: str
    text: str
    explanation: str
    evidence: str
    document: str
    chapter: str  # its title


@cache  # several directives of one build ask
def claims_of(root: Path) -> list[Claim]:
    """The claims of all chapters, by anchor. Raises ValueError for one that cannot be read."""
    notebooks = sorted((root / "chapters").glob("*.ipynb"))
    found = [claim for path in notebooks for claim in claims_in(path, f"chapters/{path.stem}")]
    return sorted(found, key=lambda claim: claim.anchor)


def claims_in(path: Path, document: str) -> Iterator[Claim]:
    """The claims of one notebook."""
    cells = nbformat.read(path, as_version=4).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    title = re.search(r"^# (.+)$", "\n".join(texts), re.MULTILINE)
    chapter = title[1] if title else path.stem
    for anchor, body in (match for text in texts for match in DIVISION.findall(text)):
        heading = HEADING.fullmatch(body)
        if heading is None or heading[2] not in VERDICTS:
            raise ValueError(
                f"{path.name}: {anchor} must begin **S1a · verdict.** *claim*, where the verdict "
                f"is one of {', '.join(VERDICTS)}; it begins {body[:60]!r}"
            )
        label, verdict, text, explanation = heading.groups()
        evidence = "\n".join(printed(cell) for cell in cells if anchor in tags(cell))
        yield Claim(anchor, label, verdict, text, explanation, evidence.strip(), document, chapter)


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def printed(cell: nbformat.NotebookNode) -> str:
    streams = [output.text for output in cell.outputs if output.output_type == "stream"]
    return "".join(streams).strip("\n")


class Claims(SphinxDirective):
    """`{claims} S4`: the claims of one source, each under its verdict."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the chapters' outputs change without this page
        mine = [
            c for c in claims_of(Path(self.env.srcdir)) if c.label.startswith(self.arguments[0])
        ]
        if not mine:
            raise self.error(f"no chapter checks a claim of {self.arguments[0]}")
        return [self.entry(claim) for claim in mine]

    def entry(self, claim: Claim) -> nodes.Node:
        box = nodes.container(classes=["checked"], ids=[f"checked-{claim.anchor}"])
        head = nodes.paragraph()
        head += [nodes.strong(text=f"{claim.label} · {claim.verdict}. "), *self.inline(claim.text)]
        box += head
        if claim.evidence:
            box += nodes.literal_block(claim.evidence, claim.evidence, language="none")
        else:
            box += nodes.paragraph("", "", *self.inline(claim.explanation))
        link = nodes.paragraph(classes=["where"])
        uri = self.env.app.builder.get_relative_uri(self.env.docname, claim.document)
        link += nodes.reference("", claim.chapter, refuri=f"{uri}#{claim.anchor}")
        box += link
        return box

    def inline(self, text: str) -> list[nodes.Node]:
        """Markdown of one paragraph or more, as the nodes that stand in a paragraph."""
        parsed = nodes.Element()
        self.state.nested_parse(StringList(text.splitlines()), self.content_offset, parsed)
        first, *others = parsed.children
        return [*first.children, *(node for other in others for node in other.children)]


class ClaimsSummary(SphinxDirective):
    """How many claims have which verdict, in a sentence."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        counts = Counter(claim.verdict for claim in claims_of(Path(self.env.srcdir)))
        parts = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
        return [nodes.paragraph(text=f"{counts.total()} in all: {', '.join(parts)}.")]


def link_labels(app: Sphinx, doctree: nodes.document, document: str) -> None:
    """Make the label of each claim of a chapter a link to its place on the page of all."""
    for opening in list(doctree.findall(nodes.raw)):
        found = re.search(r'class="claim" id="([\w-]+)"', opening.astext())
        label = opening.next_node(nodes.strong, siblings=True) if found else None
        if found and label is not None and document != PAGE:
            uri = app.builder.get_relative_uri(document, PAGE)
            link = nodes.reference("", "", refuri=f"{uri}#checked-{found[1]}", internal=True)
            label.replace_self(link)
            link += label


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", link_labels)
    app.add_directive("claims", Claims)
    app.add_directive("claims-summary", ClaimsSummary)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
