// Adds filters to tables. Without this script every page works the same, with plain tables and forms.
const text = (cell) => cell.textContent.trim();

for (const table of document.querySelectorAll("table.filterable")) {
  const rows = [...table.tBodies[0].rows];
  const headings = [...table.tHead.rows[0].cells].map(text);
  const controls = document.createElement("div");
  controls.className = "filters";
  controls.setAttribute("role", "search");
  const addControl = (caption, control) => {
    const label = document.createElement("label");
    label.append(caption, control);
    controls.append(label);
    control.addEventListener("input", apply);
    return control;
  };
  const search = addControl("Search", Object.assign(document.createElement("input"), { type: "search" }));
  const selects = table.dataset.filters.split(",").map((name) => {
    const column = headings.indexOf(name);
    const select = addControl(name, document.createElement("select"));
    const values = [...new Set(rows.map((row) => text(row.cells[column])))].sort();
    select.append(new Option("all", ""), ...values.map((one) => new Option(one, one)));
    return [column, select];
  });
  const status = document.createElement("span");
  status.setAttribute("role", "status");
  controls.append(status);
  table.closest(".scroll").before(controls);

  function apply() {
    const words = search.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of rows) {
      const content = row.textContent.toLowerCase();
      const matches = selects.every(([column, select]) => !select.value || text(row.cells[column]) === select.value);
      row.hidden = !(matches && words.every((word) => content.includes(word)));
      shown += !row.hidden;
    }
    status.textContent = shown === rows.length ? "" : `${shown} of ${rows.length}`;
  }
}
