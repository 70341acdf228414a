"""How the page of a report looks, and the few lines of script that filter it."""

from __future__ import annotations

CSS = """\
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1f2328; --soft: #59616b; --line: #dfe2e6;
  --code: #f4f5f6; --link: #0b5cad;
  --passed: #2b7a4b; --failed: #bb2d3b; --skipped: #8a6100; --xfailed: #2f6c95;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --card: #1c2025; --ink: #e3e6ea; --soft: #9ca5b0; --line: #343a42;
    --code: #23282e; --link: #7ab7f0;
    --passed: #6cc28f; --failed: #f28b94; --skipped: #dcb155; --xfailed: #85bde3;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 5rem; }
h1 { font-size: 1.6rem; font-weight: 600; line-height: 1.25; margin: 0 0 .25rem;
  overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; font-weight: 600; margin: 2.25rem 0 .6rem; }
h2 small { color: var(--soft); font-weight: 400; font-size: .85rem; margin-left: .5rem; }
a { color: var(--link); }
p { margin: .4rem 0; }
.soft { color: var(--soft); font-size: .87rem; }
.verdict { font-size: 1.05rem; margin: 1rem 0 .5rem; }
.verdict strong { color: var(--passed); } .verdict.broken strong { color: var(--failed); }
.bar { display: flex; gap: 2px; height: .6rem; margin: .6rem 0; border-radius: .3rem;
  overflow: hidden; }
.bar span { min-width: 4px; }
.passed { --tone: var(--passed); } .failed, .xpassed { --tone: var(--failed); }
.skipped { --tone: var(--skipped); } .xfailed { --tone: var(--xfailed); }
.bar span { background: var(--tone); }
.note { border-left: 3px solid var(--skipped); padding: .1rem .8rem; margin: .8rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: 1.2rem 0; width: 100%; }
th, td { text-align: right; padding: .3rem .7rem; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; }
thead th { color: var(--soft); font-weight: 500; }
tbody th { font-weight: 400; }
td.some { color: var(--tone); font-weight: 600; }
form { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; align-items: center;
  position: sticky; top: 0; z-index: 1; margin: 1.5rem -1.25rem 0; padding: .6rem 1.25rem;
  background: var(--paper); border-bottom: 1px solid var(--line); font-size: .9rem; }
form[hidden] { display: none; }
fieldset { display: flex; flex-wrap: wrap; gap: .25rem 1rem; border: 0; margin: 0; padding: 0; }
legend, .away { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap; }
label { display: inline-flex; gap: .35rem; align-items: center; }
select { font: inherit; padding: .1rem .3rem; }
details { background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  margin: .35rem 0; scroll-margin-top: 4rem; }
details.failed, details.xpassed { border-left: 3px solid var(--failed); }
summary { display: flex; gap: .8rem; align-items: baseline; padding: .45rem .8rem;
  cursor: pointer; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
summary h3 { flex: 1; font-size: .95rem; font-weight: 400; margin: 0; }
.id { font: 600 .82rem/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  min-width: 6.2rem; margin-right: .5rem; display: inline-block; }
.status { color: var(--tone); font-size: .82rem; font-weight: 600; min-width: 4rem; }
.cost { color: var(--soft); font-size: .8rem; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.body { padding: .2rem .8rem .8rem; border-top: 1px solid var(--line); }
.message { white-space: pre-wrap; overflow-wrap: anywhere; margin: .6rem 0; }
.failed .message, .xpassed .message { color: var(--failed); }
dl { display: grid; grid-template-columns: 4rem 1fr; gap: .3rem .8rem; margin: .6rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: .85em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { background: var(--code); border-radius: .25rem; padding: .05rem .3rem; }
pre { background: var(--code); border-radius: .35rem; padding: .7rem .9rem; margin: .5rem 0;
  overflow-x: auto; font-size: .82rem; }
pre code { background: none; padding: 0; font: inherit; }
figure { margin: .8rem 0 .3rem; overflow-x: auto; }
figcaption { color: var(--soft); font-size: .82rem; }
.timeline { width: 100%; min-width: 34rem; height: auto; display: block;
  font: 11px system-ui, sans-serif; }
.timeline text { fill: var(--soft); }
.timeline .lane { text-anchor: end; } .timeline .tick { text-anchor: middle; }
.timeline .rail { stroke: var(--line); } .timeline .axis { stroke: var(--soft); stroke-width: .75; }
.mark line { stroke: var(--xfailed); stroke-width: 1.5; }
.mark.chunk line { stroke: var(--passed); }
.mark line.hit { stroke: transparent; stroke-width: 7; }
.mark circle { fill: var(--card); stroke: var(--xfailed); stroke-width: 2; }
.mark rect { fill: var(--xfailed); }
.mark path { stroke: var(--failed); stroke-width: 2.5; fill: none; }
.mark:hover line:not(.hit) { stroke-width: 3.5; }
footer { margin-top: 2.5rem; }
@media (max-width: 40rem) {
  summary { flex-wrap: wrap; gap: .1rem .8rem; } summary h3 { flex-basis: 100%; order: 3; }
  .id { min-width: 0; } th, td { padding: .3rem .4rem; }
}
@media print { form { display: none; } details { break-inside: avoid; } }
"""

JS = """\
const form = document.querySelector("form");
const show = () => {
  const statuses = new Set(new FormData(form).getAll("status"));
  const area = form.elements.area.value;
  let shown = 0;
  for (const section of document.querySelectorAll("section[data-area]")) {
    let some = false;
    for (const clause of section.querySelectorAll("details[data-status]")) {
      clause.hidden = !(statuses.has(clause.dataset.status)
        && (!area || area === section.dataset.area));
      some = some || !clause.hidden;
      shown += !clause.hidden;
    }
    section.hidden = !some;
  }
  form.querySelector("output").value = `${shown} shown`;
};
const jump = () => {
  const wanted = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted && wanted.matches("details")) { wanted.open = true; wanted.scrollIntoView(); }
};
form.hidden = false;
form.addEventListener("change", show);
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", jump);
show();
jump();
"""
