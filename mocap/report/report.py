"""The report of a take as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from mocap.report import page, sections, synchronisation
from mocap.report.findings import find, summary_sentence
from mocap.report.measures import Measures
from mocap.report.pictures import Thumbnail

_LINKS = (("cameras", "Cameras"), ("calibration", "Calibration"), ("times", "Times"), ("joints", "Joints"),
          ("people", "People"), ("pictures", "Worst frames"), ("truth", "Ground truth"),
          ("stages", "Stages"))  # fmt: skip


def render(
    measures: Measures, thumbnails: Sequence[Thumbnail] = (), scores: Sequence[Sequence[Sequence[str]]] = (),
    provenance: Sequence[Sequence[str]] = (),
) -> str:  # fmt: skip
    """The page.

    Parameters
    ----------
    measures : Measures
    thumbnails : sequence of Thumbnail
        Of the worst frames.
    scores : tables of text
        Against ground truth; the first row of each is its header.
    provenance : rows of text
        Name and digest of what the result was made from.

    Returns
    -------
    str
        HTML that loads nothing from elsewhere; the same for the same input.
    """
    take = measures.take
    findings = find(measures)
    n = len(take.matches.frames)
    facts = (
        f"{n} frames ({n / take.matches.fps:.1f} s at {take.matches.fps:g} frames/s), {len(take.matches.cameras)} "
        f"cameras, {len(take.matches.person_ids)} person(s), {len(take.matches.joint_names)} joints"
    )
    pictures = "".join(page.picture(t.jpeg, "image/jpeg", t.alt, t.caption) for t in thumbnails)
    body = [
        sections.cameras(measures) if len(take.matches.person_ids) else "",
        sections.calibration(measures),
        synchronisation.section(take.alignment),
        sections.joints(measures) if len(take.matches.person_ids) else "",
        sections.people(measures) if len(take.matches.person_ids) else "",
        page.section("pictures", "Worst frames", [f'<div class="pictures">{pictures}</div>' if pictures else ""]),
        sections.scores(scores) if scores else "",
        sections.stages(measures),
        page.section("provenance", "Made from", [page.table(("what", "SHA-256"), provenance, text_columns=(1,))]),
    ]
    links = "".join(f'<a href="#{a}">{w}</a>' for a, w in _LINKS if any(f'<section id="{a}"' in b for b in body))
    head = [
        f"<header>{page.heading(take.name)}{page.paragraph(facts, 'note')}</header>",
        page.summary(summary_sentence(findings), findings), page.finding_list(findings), f"<nav>{links}</nav>",
    ]  # fmt: skip
    return page.document(f"{take.name}: mocap report", [*head, "<main>", *(b for b in body if b), "</main>"])
