"""Building blocks of the page: all text is escaped here, nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from mocap.report.findings import Finding, Severity

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.45 system-ui, "Liberation Sans", Arial, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 62rem; margin: 0 auto; padding: 1rem 1.5rem 3rem; }
h1 { font-size: 1.5rem; margin: .2rem 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .4rem; border-bottom: 2px solid #ccc; }
p { margin: .4rem 0; }
.summary { font-size: 1.2rem; font-weight: 600; padding: .6rem .9rem; border: 2px solid; border-left-width: .8rem; }
.good { border-color: #00634a; background: #eef8f4; } .look { border-color: #8a5a00; background: #fdf6e7; }
.fault { border-color: #a3190b; background: #fdf0ee; }
ol.findings { padding-left: 1.4rem; } ol.findings li { margin: .35rem 0; }
.badge { font-weight: 700; padding: 0 .45rem; border: 2px solid; border-radius: .3rem; font-size: .85rem; }
.advice { color: #444; }
table { border-collapse: collapse; margin: .5rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem; border-bottom: 1px solid #ccc; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } .text { text-align: left; overflow-wrap: anywhere; }
figure { margin: .6rem 0; } figure img { max-width: 100%; height: auto; } figcaption { color: #444; font-size: .9rem; }
.pictures { display: flex; flex-wrap: wrap; gap: .6rem; } .pictures figure { margin: 0; width: 30%; min-width: 14rem; }
nav a { margin-right: .9rem; } a { color: #0a4c8a; } .scroll { overflow-x: auto; } .note { color: #444; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } nav { display: none; }
  .scroll { overflow: visible; } table { font-size: .72rem; } th, td { padding: .1rem .3rem; }
  figure, tr, li { break-inside: avoid; } h2 { break-after: avoid; } details { display: block; }
  .pictures figure { width: 31%; min-width: 0; } }
"""

_WORDS = {Severity.FAULT: "FAULT", Severity.LOOK: "LOOK", Severity.NOTE: "note"}
_CLASSES = {Severity.FAULT: "fault", Severity.LOOK: "look", Severity.NOTE: "good"}


def document(title: str, body: Iterable[str]) -> str:
    """A whole page; `body` is HTML, `title` text."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(body)
        + "\n</body>\n</html>\n"
    )  # fmt: skip


def section(anchor: str, title: str, parts: Iterable[str]) -> str:
    """A headed part of the page; empty where there is nothing to show."""
    content = "\n".join(p for p in parts if p)
    return f'<section id="{anchor}">\n<h2>{escape(title)}</h2>\n{content}\n</section>' if content else ""


def heading(text: str) -> str:
    """The page's heading."""
    return f"<h1>{escape(text)}</h1>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def summary(text: str, findings: Sequence[Finding]) -> str:
    """The summary sentence, boxed by the gravest finding."""
    gravest = max((f.severity for f in findings), default=Severity.NOTE)
    return f'<p class="summary {_CLASSES[gravest]}" role="status">{escape(text)}</p>'


def finding_list(findings: Sequence[Finding]) -> str:
    """Findings in order, each with its severity as a word and what to do."""
    items = []
    for f in findings:
        badge = f'<span class="badge {_CLASSES[f.severity]}">{_WORDS[f.severity]}</span>'
        advice = f' <span class="advice">— {escape(_stop(f.advice))}</span>' if f.advice else ""
        items.append(f"<li>{badge} {escape(_stop(f.text))}{advice}</li>")
    return f'<ol class="findings">{"".join(items)}</ol>' if items else ""


def _stop(text: str) -> str:
    """The text with a stop where it has none."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: Sequence[int] = ()) -> str:
    """A table of text cells; the first column heads its row. `text_columns` are set to the left."""
    left = ' class="text"'
    head = "".join(f'<th scope="col"{left if i in text_columns else ""}>{escape(h)}</th>' for i, h in enumerate(header))
    body = []
    for row in rows:
        cells = [f'<th scope="row">{escape(row[0])}</th>']
        for i, cell in enumerate(row[1:], 1):
            cells.append(f"<td{left if i in text_columns else ''}>{escape(cell)}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    if not body:
        return ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def chart(svg: str, alt: str, caption: str) -> str:
    """An SVG as a picture, so that its ids and styles stay its own."""
    return picture(svg.encode(), "image/svg+xml", alt, caption)


def picture(data: bytes, kind: str, alt: str, caption: str) -> str:
    """A picture with its data in the page."""
    source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return (
        f'<figure><img src="{source}" alt="{escape(alt, quote=True)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
