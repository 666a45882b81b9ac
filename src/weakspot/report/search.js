// Shows the slices that hold all of the words typed, and have the verdict chosen.
const form = document.querySelector("form.search");
const table = document.querySelector("table.slices");
const more = document.querySelector("button.rows");

async function showAllRows() {
  if (!more || more.hidden) return;
  more.hidden = true;
  const rows = document.createElement("template");
  rows.innerHTML = await unpack(folded.parts[more.dataset.rows]);
  table.tBodies[0].append(rows.content);
}

async function filter() {
  await showAllRows();
  const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const verdict = form.elements.verdict.value;
  let kept = 0;
  for (const row of table.tBodies[0].rows) {
    const text = `${row.textContent.toLowerCase()} ${row.dataset.find}`;
    row.hidden = !(words.every((word) => text.includes(word)) && (!verdict || row.cells[1].textContent === verdict));
    kept += !row.hidden;
  }
  form.querySelector("output").textContent = `${kept} of ${table.tBodies[0].rows.length}`;
}

if (more) {
  more.hidden = false;
  more.addEventListener("click", showAllRows);
}
if (form) {
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
}
