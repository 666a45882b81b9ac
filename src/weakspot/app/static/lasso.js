// A lasso on the map becomes a filter: its corners go into the form, and the server lists the examples inside.
const MAX_CORNERS = 400; // as in weakspot.app.lasso
const runMap = document.getElementById("map");
const exampleForm = document.getElementById("filter-form");

// Return the corners in a form that fits into a URL: whole numbers, and at most MAX_CORNERS.
function addressCorners(corners) {
  const step = Math.ceil(corners.length / MAX_CORNERS);
  return corners.filter((_, i) => i % step === 0).map((corner) => corner.map(Math.round));
}

if (runMap) {
  const field = exampleForm.elements.lasso;
  runMap.addEventListener("chosen", ({ detail: { corners, title } }) => {
    if (!corners) return;
    const rounded = addressCorners(corners);
    if (String(rounded) !== String(corners)) {
      drawnMap.choose(rounded, title); // so that the map counts the examples that the server will list
      return;
    }
    if (!runMap.querySelector(".map-save")) return; // nothing lies inside
    const list = Object.assign(document.createElement("button"), {
      type: "button",
      className: "map-list",
      textContent: "List them, and test them",
    });
    list.addEventListener("click", () => {
      field.value = rounded.map((corner) => corner.join(",")).join(";");
      exampleForm.action += "#found";
      exampleForm.requestSubmit();
    });
    runMap.querySelector(".map-acts").prepend(list);
  });
  runMap.addEventListener("drawn", () => {
    if (!field.value) return;
    const corners = field.value.split(";").map((corner) => corner.split(",").map(Number));
    drawnMap.choose(corners, "Chosen by a lasso");
  });
  runMap.addEventListener("click", (event) => {
    // in the report these links lead to its sections; here each leads to a list
    const link = event.target.closest('a[href^="#finding-"], a[href^="#node-"]');
    if (!link) return;
    event.preventDefault();
    location.assign(`${exampleForm.action}?${new URLSearchParams({ map: "shown", in: link.hash.slice(1) })}`);
  });
}
