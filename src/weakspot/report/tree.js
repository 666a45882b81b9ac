// Links the icicle plot of the tree to its outline, and marks the clusters below a threshold.
const icicle = document.querySelector(".icicle .ground");
const threshold = document.querySelector("form.threshold");

function markBelow() {
  const { all, count, clusters } = threshold.querySelector("[data-all]").dataset;
  const share = threshold.elements.threshold.value / 100;
  const below = new Set();
  for (const [node, accuracy] of Object.entries(JSON.parse(clusters))) {
    if (accuracy < share * Number(all)) below.add(node);
  }
  icicle.classList.add("marking");
  const mark = (element, node) => element.classList.toggle("below", below.has(node));
  for (const cell of icicle.querySelectorAll("rect[data-leaf]")) mark(cell, cell.dataset.node);
  for (const node of document.querySelectorAll(".tree li")) mark(node, node.id.slice("node-".length));
  const percent = (value) => `${Math.round(100 * value)}\u202f%`;
  threshold.querySelector("output").textContent =
    `${percent(share)} of the accuracy of all, ${percent(share * Number(all))}: ${below.size} of ${count} clusters`;
}

if (icicle) {
  icicle.addEventListener("click", (event) => {
    const cell = event.target.closest("rect[data-node]");
    if (cell) location.hash = `node-${cell.dataset.node}`;
  });
  threshold.hidden = false;
  threshold.addEventListener("input", markBelow);
  threshold.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("unfolded", () => icicle.classList.contains("marking") && markBelow());
}
