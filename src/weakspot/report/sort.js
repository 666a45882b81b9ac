// Sorts a table by the column whose heading is pressed: by the cells' data-value, or by what they show.
function sortTables(root) {
  for (const table of root.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    for (const heading of headings) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const order = heading.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
        for (const other of headings) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", order);
        sortRows(table);
      });
    }
  }
}

// Sorts the rows in the order that was chosen last, if any; to be called after rows are added.
function sortRows(table) {
  const heading = table.tHead.rows[0].querySelector("[aria-sort]");
  if (!heading) return;
  const sign = heading.getAttribute("aria-sort") === "ascending" ? 1 : -1;
  const value = (row) => {
    const cell = row.cells[heading.cellIndex];
    const shown = cell.textContent.trim();
    const number = Number((cell.dataset.value ?? shown) || NaN);
    return Number.isNaN(number) ? shown : number;
  };
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (typeof x === "number" && typeof y === "number") return sign * (x - y);
    if (typeof x === typeof y) return sign * x.localeCompare(y, undefined, { numeric: true });
    return typeof x === "number" ? -1 : 1; // unknown values stay last
  };
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(compare));
}
sortTables(document);
