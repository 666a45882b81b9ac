// What is chosen on the map becomes a filter: its corners go into the form, and the server lists what lies inside.
const MOST_CORNERS = 400; // Lasso.read takes no more
const onMap = document.getElementById("map");
const asking = document.getElementById("asking");

// The same corners as the address can hold them: whole numbers, and few enough.
function sayable(corners) {
  const step = Math.ceil(corners.length / MOST_CORNERS);
  return corners.filter((_, i) => i % step === 0).map((corner) => corner.map(Math.round));
}

if (onMap) {
  const field = asking.elements.lasso;
  onMap.addEventListener("chosen", ({ detail: { corners, title } }) => {
    if (!corners) return;
    const said = sayable(corners);
    if (String(said) !== String(corners)) {
      drawnMap.choose(said, title); // so that what is counted is what will be listed
      return;
    }
    if (!onMap.querySelector(".map-save")) return; // nothing lies inside
    const list = Object.assign(document.createElement("button"), {
      type: "button",
      className: "map-list",
      textContent: "List them, and test them",
    });
    list.addEventListener("click", () => {
      field.value = said.map((corner) => corner.join(",")).join(";");
      asking.action += "#found";
      asking.requestSubmit();
    });
    onMap.querySelector(".map-acts").prepend(list);
  });
  onMap.addEventListener("drawn", () => {
    if (!field.value) return;
    const corners = field.value.split(";").map((corner) => corner.split(",").map(Number));
    drawnMap.choose(corners, "Chosen by a lasso");
  });
  onMap.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#finding-"], a[href^="#node-"]'); // of the report; here each has a list
    if (!link) return;
    event.preventDefault();
    location.assign(`${asking.action}?${new URLSearchParams({ map: "shown", in: link.hash.slice(1) })}`);
  });
}
