// Leads from the tree's picture into its outline, and marks the clusters below a threshold.
const icicle = document.querySelector(".icicle .ground");

function markBelow(form) {
  const { all, count, size } = form.querySelector("[data-all]").dataset;
  const share = form.elements.threshold.value / 100;
  let clusters = 0;
  icicle.classList.add("marking");
  for (const cell of icicle.querySelectorAll("rect[data-accuracy]")) {
    const below = Number(cell.dataset.accuracy) < share * Number(all);
    cell.classList.toggle("below", below);
    document.getElementById(`node-${cell.dataset.node}`)?.classList.toggle("below", below);
    clusters += below;
  }
  const percent = (value) => `${Math.round(100 * value)}\u202f%`;
  form.querySelector("output").textContent =
    `${percent(share)} of the accuracy of all, ${percent(share * Number(all))}: ${clusters} of ${count} clusters`;
}

if (icicle) {
  icicle.addEventListener("click", (event) => {
    const cell = event.target.closest("rect[data-node]");
    if (cell) location.hash = `node-${cell.dataset.node}`;
  });
  const form = document.querySelector("form.threshold");
  form.hidden = false;
  form.addEventListener("input", () => markBelow(form));
  form.addEventListener("submit", (event) => event.preventDefault());
}
