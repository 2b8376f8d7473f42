"""How every page looks, and the script of those whose tables are sorted and filtered."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --bar: #4a8fd0; --bad: #d0453b; --good: #2e9e5b; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64rem; padding: 1rem; }
body.broad { max-width: 86rem; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { border-top: 1px solid var(--line); font-size: 1.15rem; margin: 2rem 0 .5rem; padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, figcaption { overflow-wrap: anywhere; }
.soft { opacity: .75; font-size: .9rem; }
.big { font-size: 1.3rem; margin: .3rem 0; }
.status { border-radius: 1rem; color: white; background: #777; font-size: .85rem; padding: .15rem .7rem; }
.status.good { background: var(--good); } .status.bad { background: var(--bad); }
pre { background: var(--soft); border-left: 3px solid var(--bad); overflow-x: auto; padding: .6rem .8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.columns { display: grid; gap: 0 2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }

.table { max-width: 100%; overflow-x: auto; } .long { max-height: 75vh; overflow-y: auto; }
table { border-collapse: separate; border-spacing: 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: left; vertical-align: top; }
th { background: Canvas; position: sticky; top: 0; white-space: nowrap; } tbody tr:hover td { background: var(--soft); }
td { overflow-wrap: anywhere; } td.name { overflow-wrap: normal; white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; } tr.differs td { font-weight: 600; }
td.run { max-width: 24rem; min-width: 12rem; } td.error { min-width: 16rem; }
th[aria-sort] { cursor: pointer; } th[aria-sort=ascending]::after { content: " ▲"; }
th[aria-sort=descending]::after { content: " ▼"; }
input { font: inherit; margin-bottom: .5rem; max-width: 100%; padding: .2rem .5rem; }
.share { width: 10rem; max-width: 30vw; } .share svg { display: block; height: .7rem; margin-top: .35rem; width: 100%; }
.share rect { fill: var(--bar); }

figure { margin: 0; min-width: 0; } img { display: block; height: auto; max-width: 100%; }
.pictures { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.pictures, .mistakes { margin: 1.2rem 0; } .broad { grid-column: 1 / -1; }
.pictures img { width: 100%; max-width: 40rem; } .pictures .broad img { max-width: 100%; }
.pictures figcaption { font-size: .95rem; font-weight: 600; margin-bottom: .25rem; }
.white img { background: white; border-radius: 4px; }
.mistakes { display: grid; gap: .8rem .6rem; grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)); }
.mistakes img { aspect-ratio: 1; background: #8883; image-rendering: pixelated; object-fit: contain; width: 100%; }
.mistakes figcaption { font-size: .8rem; line-height: 1.3; }

@media print { .long { max-height: none; } input { display: none; } }
@media (prefers-color-scheme: dark) { .white img { filter: brightness(.85); } }
@media (max-width: 30rem) { body { padding: .75rem; } th, td { padding: .25rem .35rem; } table { font-size: .8rem; } }
"""

# A click on a header sorts, numbers as numbers and empty cells last; what is typed leaves the rows that hold it.
SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...body.rows].map(row => {
        const text = row.cells[column].textContent, number = parseFloat(text);
        return [text, number, row];
      });
      keyed.sort(([a, x], [b, y]) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) || a.localeCompare(b) : x - y;
        return down ? -order : order;
      });
      body.append(...keyed.map(each => each[2]));
    };
    head.setAttribute("aria-sort", "none");
    head.tabIndex = 0;
    head.title = "sort";
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
  });
  if (!table.parentElement.classList.contains("long")) continue;
  const box = document.createElement("input");
  box.type = "search";
  box.placeholder = "filter " + body.rows.length + " rows";
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(" ");
    for (const row of body.rows) {
      const text = [...row.cells].map(cell => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
  });
  table.parentElement.before(box);
}
"""
