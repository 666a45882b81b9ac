// Sorts a table by the column whose heading is pressed: by the cells' data-value, or by what they show.
function sortTables(root) {
  for (const table of root.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[0].cells];
    const value = (row, column) => {
      const cell = row.cells[column];
      const shown = cell.textContent.trim();
      const number = Number((cell.dataset.value ?? shown) || NaN);
      return Number.isNaN(number) ? shown : number;
    };
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const sign = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
        for (const other of headings) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
        const compare = (a, b) => {
          const [x, y] = [value(a, column), value(b, column)];
          if (typeof x === "number" && typeof y === "number") return sign * (x - y);
          if (typeof x === typeof y) return sign * x.localeCompare(y, undefined, { numeric: true });
          return typeof x === "number" ? -1 : 1; // what is unknown stays last
        };
        body.append(...[...body.rows].sort(compare));
      });
    });
  }
}
sortTables(document);
