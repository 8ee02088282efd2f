"""A chapter's Markdown, cut into blocks for slides.

MyST's roles and directives stand for their text: {cite:p} is its authors and year, a link within
the book its words, a figure its picture and caption.
"""

import base64
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from claims import HEADING
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser
from nbconvert.filters import Highlight2HTML
from pybtex.database import parse_file
from pybtex.richtext import Text

BOOK = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((BOOK.parent / "_config.yml").read_text("utf-8"))
EXTENSIONS = CONFIG["parse"]["myst_enable_extensions"]
TITLED = re.compile(r"(.*?)\s*<[^>]*>", re.DOTALL)  # the words of {term}`words <target>`
# what a full stop inside does not end
WHOLE = re.compile(r"\{[\w:]+\}`[^`]*`|`[^`]*`|\$[^$]*\$|\]\([^)]*\)")
SENTENCE = re.compile(r"(?<=[.?!])([)*”\"]*)\s+(?=[^a-z\s])")
GUESS = re.compile(r"\b(predict|guess)\b", re.IGNORECASE)
LOOKS_BACK = re.compile(r"(?:And|But|So|Then|It|Its|They|Their|This|That|These|Those)\b")
SHORT = {0: 200, 1: 400}  # characters of a paragraph that stays whole, by the section's level
GOALS = "**You will**"


@dataclass
class Block:
    """kind: text, list, table, formula, code, drawing, claim or goals. source: its Markdown."""

    kind: str
    html: str
    source: str = ""


@dataclass
class Section:
    """What stands between two headings; level 0: before the first of the text."""

    level: int
    title: str
    blocks: list[Block] = field(default_factory=list)


# ---------------------------------------------------------------------------- rendering


class Renderer(RendererHTML):
    """HTML of markdown-it's tokens with MyST's own among them. env["folder"]: the notebook's."""

    def myst_role(self, tokens, i, options, env) -> str:
        name, content = tokens[i].meta["name"], tokens[i].content
        if name.startswith("cite:"):
            return html.escape(cited(name, content))
        titled = TITLED.fullmatch(content)
        words = html.escape((titled[1] if titled else content).lstrip("!~"))
        return f"<code>{words}</code>" if name.startswith("py:") else words

    def myst_target(self, tokens, i, options, env) -> str:
        return ""

    myst_line_comment = myst_block_break = myst_target

    def image(self, tokens, i, options, env) -> str:
        token = tokens[i]
        alt = self.renderInlineAsText(token.children, options, env)
        return picture(env["folder"] / str(token.attrs["src"]), alt)

    def link_open(self, tokens, i, options, env) -> str:
        """A link to the web stays; another page of the book is not here."""
        target = str(tokens[i].attrs.get("href", ""))
        return f'<a href="{html.escape(target)}">' if target.startswith("http") else "<span>"

    def link_close(self, tokens, i, options, env) -> str:
        opening = next(t for t in reversed(tokens[:i]) if t.type == "link_open")
        web = str(opening.attrs.get("href", "")).startswith("http")
        return "</a>" if web else "</span>"

    def fence(self, tokens, i, options, env) -> str:
        """Code, or a directive: a figure, a formula, or a box with Markdown inside."""
        info, content = tokens[i].info.strip(), tokens[i].content
        directive = re.fullmatch(r"\{([\w:-]+)\}\s*(.*)", info)
        if not directive:
            return highlighted(content, info or "text")
        name, argument = directive.groups()
        body = re.sub(r"\A(?::[\w-]+:[^\n]*\n|---\n.*?\n---\n)+", "", content, flags=re.DOTALL)
        if name in ("figure", "image"):
            alt = re.search(r"^:alt:\s*(.*)$", content, re.MULTILINE)
            caption = PARSER.renderInline(body.strip(), env)
            shown = picture(env["folder"] / argument, alt[1] if alt else "")
            return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"
        if name == "math":
            return f'<div class="math block">{html.escape(body.strip())}</div>\n'
        if name.startswith("code"):
            return highlighted(body, argument or "text")
        title = f"<p><strong>{PARSER.renderInline(argument, env)}</strong></p>" if argument else ""
        return f'<div class="box">{title}{PARSER.render(body, env)}</div>'

    colon_fence = fence


PARSER = create_md_parser(MdParserConfig(enable_extensions=set(EXTENSIONS)), Renderer)
for rule in ("myst_role", "myst_target", "myst_line_comment", "myst_block_break"):
    PARSER.renderer.rules[rule] = getattr(PARSER.renderer, rule)  # MyST's plugins bring their own


def highlighted(code: str, language: str) -> str:
    return Highlight2HTML(pygments_lexer=language)(code.rstrip(), language=language)


def picture(path: Path, alt: str) -> str:
    """An image with its file inside. Raises FileNotFoundError."""
    kind = {".svg": "svg+xml", ".jpg": "jpeg"}.get(path.suffix, path.suffix[1:])
    return embedded(base64.b64encode(path.read_bytes()).decode(), f"image/{kind}", alt)


def embedded(data: str, mime: str, alt: str) -> str:
    return f'<img alt="{html.escape(alt)}" src="data:{mime};base64,{data}">'


BIBLIOGRAPHY = parse_file(BOOK / "references.bib").entries


def cited(role: str, keys: str) -> str:
    """(LeCun et al., 1998) for cite:p, LeCun et al. (1998) for cite:t, (1998) for cite:yearpar."""
    works = [BIBLIOGRAPHY[key.strip()] for key in keys.split(",")]
    pairs = [(authors(work), work.fields["year"]) for work in works]
    if role == "cite:p":
        return f"({'; '.join(f'{names}, {year}' for names, year in pairs)})"
    if role == "cite:yearpar":
        return f"({', '.join(year for _, year in pairs)})"
    return ", ".join(f"{names} ({year})" for names, year in pairs)


def authors(work) -> str:
    names = [str(Text.from_latex(" ".join(p.prelast_names + p.last_names)))
             for p in work.persons["author"]]  # fmt: skip
    return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)


# ---------------------------------------------------------------------------- cutting


def sections(source: str, folder: Path) -> list[Section]:
    """A cell's text between its headings. What is folded (hints, solutions) is left out."""
    env = {"folder": folder}
    tokens = PARSER.parse(source, env)
    lines = source.splitlines()
    found = [Section(0, "")]
    within = None  # a claim's or a head's <div>, or a <details>
    for group in top_level(tokens):
        first = group[0]
        markdown = "\n".join(lines[slice(*first.map)]) if first.map else ""
        if first.type == "heading_open":
            title = PARSER.renderer.renderInline(group[1].children, PARSER.options, env)
            found.append(Section(int(first.tag[1]), title))
        elif first.type == "html_block":
            opening = re.match(r"\s*<(?:details|div)\b[^>]*?(?:class=\"([\w-]+))?[\">]", markdown)
            if opening:
                within = opening[1] or "details"
            if re.search(r"</(details|div)>\s*\Z", markdown):
                within = None
        elif within == "claim":
            found[-1].blocks.append(Block("claim", claim(markdown, env), markdown))
        elif within == "at-a-glance":
            if markdown.startswith(GOALS):
                found[-1].blocks.append(Block("goals", goals(markdown, env), markdown))
        elif within is None:
            shown = PARSER.renderer.render(group, PARSER.options, env)
            if shown.strip():
                found[-1].blocks.append(Block(kind_of(group), shown, markdown))
    return found


def top_level(tokens: list[Token]) -> Iterator[list[Token]]:
    """The tokens of one block after the other."""
    group, depth = [], 0
    for token in tokens:
        group.append(token)
        depth += token.nesting
        if depth == 0:
            yield group
            group = []


KINDS = {
    "bullet_list_open": "list", "ordered_list_open": "list", "table_open": "table",
    "math_block": "formula", "math_block_label": "formula", "amsmath": "formula",
}  # fmt: skip


def kind_of(group: list[Token]) -> str:
    first = group[0]
    if first.type in KINDS:
        return KINDS[first.type]
    if first.type in ("fence", "colon_fence", "code_block"):
        figure = first.info.startswith(("{figure}", "{image}"))
        return "drawing" if figure else "text" if first.info.startswith("{") else "code"
    inline = [token.type for token in group[1].children or []] if len(group) > 1 else []
    return "drawing" if inline and set(inline) <= {"image", "softbreak"} else "text"


def claim(markdown: str, env) -> str:
    """A claim and its verdict, with the first sentence of the explanation."""
    heading = HEADING.fullmatch(markdown)
    if heading is None:
        return PARSER.render(markdown, env)
    label, verdict, text, explanation = heading.groups()
    first = next(iter(sentences(explanation)), "")
    return PARSER.render(f"**{label}** *{text}*", env) + (
        f'<div class="fragment">{PARSER.render(f"**{verdict.capitalize()}.** {first}", env)}</div>'
    )


def goals(markdown: str, env) -> str:
    """What stands between dots, `**You will** write a · show b.`, as a list."""
    items = " ".join(markdown.removeprefix(GOALS).split()).rstrip(".").split(" · ")
    return PARSER.render("You will\n\n" + "\n".join(f"- {item}" for item in items), env)


# ---------------------------------------------------------------------------- shortening


def sentences(markdown: str) -> list[str]:
    """The sentences of a paragraph. Formulas, code and roles are not looked into."""
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match[0])
        return f"\x00{len(held) - 1}\x01"

    text = WHOLE.sub(hold, " ".join(markdown.split()))
    parts = SENTENCE.sub(r"\1\n", text).split("\n")
    return [re.sub(r"\x00(\d+)\x01", lambda m: held[int(m[1])], part) for part in parts if part]


def asks(sentence: str) -> bool:
    """Whether it wants something of a class: an answer, or a guess."""
    return sentence.rstrip("*)_ ").endswith("?") or bool(GUESS.search(sentence))


def shortened(section: Section, folder: Path, goes_on: bool) -> list[Block]:
    """What of a section stands on the slide: its first sentence, each question with the sentence
    before it, the words that lead to a formula, a list, code or the next cell, and all that is not
    prose. A sentence that looks back ("So …") brings the one before it.

    Text without a heading of its own begins by looking back at the cell before: it gives what it
    asks and what leads on, or else the first sentence of its last paragraph. There, and below a
    chapter's title, short paragraphs stay whole. Claims look back too.
    goes_on: whether a cell follows on the slide.
    """
    blocks = section.blocks
    if not section.level and any(block.kind != "claim" for block in blocks):
        blocks = [block for block in blocks if block.kind != "claim"]
    texts = [i for i, block in enumerate(blocks) if is_prose(block)]
    first = texts[:1] if section.level else texts[-1:]
    kept: list[Block] = []
    for i, block in enumerate(blocks):
        if not is_prose(block):
            kept.append(block)
            continue
        spoken = sentences(block.source)
        leads = not is_prose(blocks[i + 1]) if i + 1 < len(blocks) else goes_on
        wanted = {n for n, sentence in enumerate(spoken) if asks(sentence)}
        if leads and spoken[-1][-1] not in ".!":
            wanted.add(len(spoken) - 1)
        if i in first and (section.level or not (wanted or kept)):
            wanted.add(0)
        if wanted and len(block.source) <= SHORT.get(section.level, 0):
            wanted = set(range(len(spoken)))
        for n in range(len(spoken) - 1, 0, -1):
            if n in wanted and (asks(spoken[n]) or LOOKS_BACK.match(spoken[n])):
                wanted.add(n - 1)
        if wanted:
            text = " ".join(spoken[n] for n in sorted(wanted))
            kept.append(Block("text", PARSER.render(text, {"folder": folder}), text))
    return kept


def is_prose(block: Block) -> bool:
    return block.kind == "text" and not block.html.startswith("<div")  # a directive's box
