// Saves the ids of the members of a finding or slice as a CSV file.
const members = JSON.parse(document.getElementById("members").textContent);

function initIds(root) {
  for (const button of root.querySelectorAll("button.ids")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.ids");
  if (!button) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([await unpack(members[button.dataset.ids])], { type: "text/csv" }));
  link.download = `${button.dataset.ids}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});
initIds(document);
