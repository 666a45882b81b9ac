// Shows the rows of a table that contain all words typed and have the chosen verdict; hides columns.
const more = document.querySelector("button.rows");

let allRows = null; // a promise, because they may be requested again while they are unpacked

function showAllRows() {
  allRows ??= (async () => {
    if (!more) return;
    more.hidden = true;
    const rows = document.createElement("template");
    rows.innerHTML = await unpack(folded.parts[more.dataset.rows]);
    const table = document.getElementById("slices");
    table.tBodies[0].append(rows.content);
    sortRows(table);
  })();
  return allRows;
}

async function filterRows(form) {
  if (form.dataset.table === "slices") await showAllRows();
  const table = document.getElementById(form.dataset.table);
  const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const verdict = form.elements.verdict?.value;
  let kept = 0;
  for (const row of table.tBodies[0].rows) {
    const text = `${row.textContent.toLowerCase()} ${row.dataset.find ?? ""}`;
    row.hidden = !(words.every((word) => text.includes(word)) && (!verdict || row.cells[1].textContent === verdict));
    kept += !row.hidden;
  }
  form.querySelector("output").textContent = `${kept} of ${table.tBodies[0].rows.length}`;
}

function initSearch(root) {
  for (const form of root.querySelectorAll("form.search")) {
    form.hidden = false;
    form.addEventListener("input", () => filterRows(form));
    form.addEventListener("submit", (event) => event.preventDefault());
  }
  for (const columns of root.querySelectorAll("details.columns")) {
    const table = root.querySelector(`#${columns.dataset.table}`);
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => {
        for (const row of table.rows) row.cells[column].hidden = !box.checked;
      });
      label.append(box, ` ${heading.textContent}`);
      columns.append(label);
    });
    columns.hidden = false;
  }
}

if (more) {
  more.hidden = false;
  more.addEventListener("click", showAllRows);
  // sort all rows, not only those that are in the page already
  document.getElementById("slices").tHead.addEventListener("click", showAllRows);
}
initSearch(document);
