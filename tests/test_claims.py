"""Every claim and system that the book set out to check stands in a chapter, with what shows it."""

from pathlib import Path

import nbformat
import pytest
from claims import claims_in, claims_of

REPOSITORY = Path(__file__).resolve().parents[1]
LETTERS = {"s0": "abcdef", "s1": "abcdefgh", "s2": "abcdef", "s3": "abcdefg", "s4": "abc"}
SYSTEMS = {
    "s0", "s1-alexnet", "s1-vgg", "s1-googlenet", "s2-alexnet", "s2-vgg", "s2-nin",
    "s2-googlenet", "s3", "s4",
}  # fmt: skip
CLAIMS = claims_of(REPOSITORY)


def test_every_claim_and_system_has_its_place():
    wanted = {source + letter for source, letters in LETTERS.items() for letter in letters}
    found = [claim.anchor.removeprefix("claim-") for claim in CLAIMS]
    assert sorted(found) == sorted(wanted | SYSTEMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.anchor)
def test_a_claim_rests_on_a_cell_or_on_the_literature(claim):
    assert claim.evidence or "{cite:" in claim.explanation
    assert claim.anchor.removeprefix("claim-").startswith(claim.label[:3].strip(" ,").lower())
    assert (claim.verdict == "built") == (claim.anchor.removeprefix("claim-") in SYSTEMS)


def notebook(tmp_path, heading, printed="45 %\n"):
    text = f'<div class="claim" id="claim-s4a">\n\n{heading}\n\n</div>'
    output = nbformat.v4.new_output("stream", name="stdout", text=printed)
    cell = nbformat.v4.new_code_cell("print(…)", outputs=[output])
    cell.metadata["tags"] = ["claim-s4a"]
    path = tmp_path / "vgg.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text), cell]), path
    )
    return path


def test_a_claim_is_read_from_its_cells(tmp_path):
    path = notebook(tmp_path, "**S4a · corrected.** *It saves\n81 %.* It saves 45 %.")
    (claim,) = claims_in(path, "chapters/vgg")
    assert (claim.label, claim.verdict, claim.text) == ("S4a", "corrected", "It saves\n81 %.")
    assert (claim.explanation, claim.evidence) == ("It saves 45 %.", "45 %")


@pytest.mark.parametrize("heading", ["**S4a · maybe.** *It saves 81 %.*", "S4a: it saves 81 %."])
def test_a_claim_without_a_verdict_is_refused(tmp_path, heading):
    with pytest.raises(ValueError, match=r"vgg\.ipynb: claim-s4a must begin"):
        list(claims_in(notebook(tmp_path, heading), "chapters/vgg"))
