"""A page for each submission: points by question and test, what failed, the student's answers."""

from __future__ import annotations

from html import escape

from d2lmini.grading.assignment import Assignment
from d2lmini.grading.grade import Grade, Result

LONGEST_ANSWER = 20_000  # characters
STYLE = """
:root { color-scheme: light dark; --ink: #1c2127; --soft: #4b5563; --line: #c3c8cf;
  --paper: #fff; --surface: #f3f4f6; --good: #00693f; --bad: #a81e16; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #aab2bd; --line: #4a5260;
  --paper: #14181d; --surface: #1f252d; --good: #5cc99a; --bad: #ff9a90; } }
body { color: var(--ink); background: var(--paper); font: 1rem/1.5 system-ui, sans-serif;
  max-width: 75rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.15rem; margin: 0; }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
.beside { display: grid; gap: 0 1.5rem; grid-template-columns: repeat(auto-fit,
  minmax(min(100%, 26rem), 1fr)); }
.beside > * { min-width: 0; }
pre { background: var(--surface); border: 1px solid var(--line); border-radius: 0.4rem;
  padding: 0.6rem; margin: 0.5rem 0; font-size: 0.85rem; white-space: pre-wrap; }
ul { padding-left: 1.2rem; margin: 0.5rem 0; }
summary { cursor: pointer; color: var(--soft); min-height: 24px; }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
.soft { color: var(--soft); }
"""


def feedback_page(
    student: str,
    shown: str,
    assignment: Assignment | None,
    grade: Grade | None,
    trouble: str,
    notes: tuple[str, ...],
) -> str:
    """HTML, complete in itself, without scripts; all of the student's text is escaped, and hidden
    tests are not in it."""
    title = assignment.title if assignment else "Submission"
    body = [f"<h1>{escape(title)} · {escape(student)}</h1>"]
    body += [f'<p class="soft">{escape(shown)}</p>']
    if grade is None or assignment is None or trouble:
        body += [f'<p><span class="bad">Not graded:</span> {escape(trouble)}.</p>']
    else:
        body += [f"<p>{_summary(assignment, grade)}</p>"]
    if notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        body += [f"<section><h2>Notes</h2><ul>{items}</ul></section>"]
    if grade is not None and assignment is not None and not trouble:
        body += [_question(question, assignment, grade) for question in assignment.maximum]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # not even what escaped escaping could load or run anything
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(title)} · {escape(student)}</title>",
            f"<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            *body,
            "</main>\n</body>\n</html>\n",
        ]
    )


def _summary(assignment: Assignment, grade: Grade) -> str:
    graded = [result for result in grade.results if result.points is not None]
    most = sum(result.test.points for result in graded)
    text = f"<strong>{grade.total:g} of {most:g} points</strong> by tests."
    if left := sum(result.test.points for result in grade.results) - most:
        text += f" Tests of {left:g} points could not be graded."
    if by_hand := sum(cell.points for cell in assignment.written):
        text += f" Your teacher reads what is worth up to {by_hand:g} more."
    return text


def _question(question: str, assignment: Assignment, grade: Grade) -> str:
    cell, most = assignment.by_id[question], assignment.maximum[question]
    if cell.kind == "written":
        heading = f"read by your teacher, up to {most:g} points"
        tests = ""
    else:
        points = grade.by_question.get(question)
        heading = f"{most:g} points, not graded" if points is None else f"{points:g} of {most:g}"
        of_question = [result for result in grade.results if result.test.question == question]
        tests = f"<ul>{''.join(_test(result) for result in of_question)}</ul>"
    answer = grade.answers.get(question)
    shown = '<p class="soft">No answer was found.</p>'
    if answer is not None:
        cut = " …" if len(answer) > LONGEST_ANSWER else ""
        shown = f"<pre>{escape(answer[:LONGEST_ANSWER])}{cut}</pre>"
    return (
        f"<section><h2>{escape(question)}: {heading}</h2>"
        f'<div class="beside"><div>{shown}</div><div>{tests}</div></div></section>'
    )


def _test(result: Result) -> str:
    test = result.test
    if result.points is None:
        verdict = '<span class="bad">? not graded</span>'
    elif result.points:
        verdict = f'<span class="good">✓ passed, {result.points:g} of {test.points:g}</span>'
    else:
        verdict = f'<span class="bad">✗ failed, 0 of {test.points:g}</span>'
    why = f"<pre>{escape(result.message)}</pre>" if result.message else ""
    seen = ""
    if test.visible.strip():
        summary = "<summary>the part of the test that you can see</summary>"
        seen = f"<details>{summary}<pre>{escape(test.visible)}</pre></details>"
    return f"<li>{escape(test.grade_id)}: {verdict}{why}{seen}</li>"
