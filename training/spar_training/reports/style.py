"""The look of a report's page."""

from __future__ import annotations

from typing import Final

STYLE: Final = """\
:root { color-scheme: light dark; --text: #1d1d1f; --soft: #5b5e66; --page: #ffffff; --panel: #f5f6f8; --line: #d9dce1;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e7ea; --soft: #a3a7b0; --page: #16181c; --panel: #1f2228; --line: #363a43; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; text-wrap: balance; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.5rem 0 .75rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
p, ul { margin: 0 0 1rem; max-width: 46rem; overflow-wrap: anywhere; }
ul { padding-left: 1.25rem; }
.summary { background: var(--panel); border-left: 4px solid var(--accent); border-radius: 4px; padding: 1rem 1.25rem;
  font-size: 1.05rem; }
.summary > :last-child { margin-bottom: 0; }
code, pre { font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { background: var(--panel); border-radius: 3px; padding: .1em .3em; }
pre { background: var(--panel); border-radius: 4px; padding: .75rem 1rem; margin: 0 0 1rem; }
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; margin: 0 0 1.25rem; font-size: .925rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 0 0 .4rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td:first-child, th:first-child { padding-left: 0; }
th { font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom; }
td:not(.figure) { min-width: 7rem; max-width: 30rem; overflow-wrap: break-word; }
.figure { text-align: right; white-space: nowrap; }
/* Headings are what makes a table of many columns wider than the page. */
th.figure { white-space: normal; }
figure { margin: 0 0 1.5rem; }
figure svg { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .925rem; margin-top: .35rem; max-width: 46rem; }
@media (max-width: 40rem) {
  main { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  /* A plot that shrank with the screen could not be read. */
  figure svg { min-width: 30rem; }
  td:not(.figure) { overflow-wrap: anywhere; }
}
@media print {
  :root { --text: #000; --soft: #444; --page: #fff; --panel: #f5f5f5; --line: #bbb; }
  body { font-size: 11pt; }
  main { max-width: none; padding: 0; }
  .scroll { overflow: visible; }
  pre { white-space: pre-wrap; }
  figure, tr, .summary { break-inside: avoid; }
  h2 { break-after: avoid; }
  thead { display: table-header-group; }
}
"""
