// Draws the map of all examples, and describes the part of it that is selected.
const MAP_COLOURS = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
  "#b8a800", "#8c564b", "#5b4bb5", "#7f9f00", "#b00060", "#4db6ac",
];
const MAP_STRIP = 24; // thumbnails of a selection
const MAP_CHEAP = 4e6; // characters of a map that is drawn before anyone scrolls to it, some 200 000 points
const mapSection = document.getElementById("map");
let drawnMap = null;

function initMap(root) {
  if (mapSection) for (const button of root.querySelectorAll("button.highlight")) button.hidden = false;
}

// The thumbnail of a point, cut from its sheet, which is decoded when one of its thumbnails is first shown.
function mapThumbnail({ sprites, thumbnail }, i) {
  const k = thumbnail ? thumbnail[i] : -1;
  if (k < 0) return null;
  const { side, across, sheets } = sprites;
  const [sheet, at] = [Math.floor(k / across ** 2), k % across ** 2];
  const properties = { className: "map-thumbnail", width: side, height: side };
  const canvas = Object.assign(document.createElement("canvas"), properties);
  sprites.decoded ??= [];
  sprites.decoded[sheet] ??= new Promise((tell, fail) => {
    const image = Object.assign(new Image(), { onload: () => tell(image), onerror: fail });
    image.src = `data:image/webp;base64,${sheets[sheet]}`;
  });
  const [left, top] = [(at % across) * side, Math.floor(at / across) * side];
  sprites.decoded[sheet].then((image) =>
    canvas.getContext("2d").drawImage(image, left, top, side, side, 0, 0, side, side));
  return canvas;
}

// An element with text; attributes and children as given.
function mapElement(tag, text, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (text !== null) element.textContent = text;
  element.append(...children);
  return element;
}

function makeMap(section, points) {
  const canvas = section.querySelector("canvas");
  const context = canvas.getContext("2d");
  const [hover, legend, summary, pinned] =
    ["hover", "legend", "summary", "pinned"].map((name) => section.querySelector(`.map-${name}`));
  const colour = section.querySelector("select");
  const [widest, highest] = [points.x, points.y].map((all) => all.reduce((most, value) => Math.max(most, value), 1));
  const tints = new Uint16Array(points.n); // of each point: how near to the front, and its colour's place in `paints`
  const paints = new Uint32Array(65536);
  const view = { scale: 1, left: 0, bottom: 0, whole: 1 };
  let width = 0, height = 0, ratio = 1, image = null, pixels = null, front = null, frame = 0, own = true;
  let selected = null, pinnedPoint = -1, shades = null, path = null, drag = null, tool = "move";

  const scale = points.loss;
  const lossOf = (i) => points.losses[points.level[i]];

  // Colours

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const style = (name) => getComputedStyle(section).getPropertyValue(name).trim();
  const ink = (colour, alpha = 255) => {
    context.fillStyle = colour;
    const value = parseInt(context.fillStyle.slice(1), 16);
    return ((alpha << 24) | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
  };
  const ramps = () => {
    const stops = ["--map-low", "--map-middle", "--map-high"].map((name) => ink(style(name)));
    return (share) => {
      const [a, b, part] = share < 0.5 ? [stops[0], stops[1], 2 * share] : [stops[1], stops[2], 2 * share - 1];
      const mixed =
        [0, 8, 16].map((shift) => Math.round(((a >> shift) & 255) * (1 - part) + ((b >> shift) & 255) * part));
      return "#" + mixed.map((value) => value.toString(16).padStart(2, "0")).join("");
    };
  };

  const lighterPart = (one) => Math.round(0.75 * parseInt(one, 16) + 64).toString(16).padStart(2, "0");
  const lighter = (one) =>
    MAP_COLOURS.includes(one) ? `#${[1, 3, 5].map((at) => lighterPart(one.slice(at, at + 2))).join("")}` : one;

  // What points are coloured by: the code of each point, and the colour and rank of each code
  // (points of a higher rank are drawn in front).
  function shading() {
    const ramp = ramps();
    if (colour.value === "loss") {
      const levels = points.loss.levels;
      const steps = (value) => Math.log1p((value - scale.low) / scale.scale) / scale.top;
      const clip = Math.max(steps(scale.clip), 1e-9) * levels;
      const step = (level) => Math.min(254, Math.floor((254 * level) / clip));
      const colours = Array.from({ length: 255 }, (_, code) => ramp(code / 254));
      const looks = Array.from({ length: levels + 2 }, (_, level) =>
        (level > levels ? [255, 0] : [step(level), step(level)]));
      return { codes: points.level, looks, colours: [...colours, style("--outside")], entries: [] };
    }
    const { codes, values, masses, role, ordered } = points.columns[colour.value];
    const hasNowhere = ["finding", "slice"].includes(role) ? 1 : 0; // their first value is "nowhere"
    const order = values.map((_, code) => code).slice(hasNowhere);
    if (!hasNowhere && order.length > MAP_COLOURS.length) order.sort((a, b) => masses[b] - masses[a]);
    const colours = values.map(() => style("--map-low"));
    if (role === "correct") colours[1] = style("--inside");
    else if (ordered) order.forEach((code, i) => (colours[code] = ramp(order.length > 1 ? i / (order.length - 1) : 1)));
    else order.slice(0, MAP_COLOURS.length).forEach((code, i) => (colours[code] = MAP_COLOURS[i]));
    if (dark.matches && !ordered) colours.forEach((one, code) => (colours[code] = lighter(one)));
    const looks = values.map((_, code) =>
      [code, role === "correct" || hasNowhere ? Number(code > 0) : ordered ? Math.min(code, 254) : 1]);
    const entries = [...order, ...(hasNowhere ? [0] : [])].filter((code) => masses[code] > 0);
    return { codes, looks, colours,
      entries: entries.map((code) => ({ code, name: values[code], mass: masses[code] })) };
  }

  function recolour() {
    const { codes, looks, colours, entries } = shading();
    const inks = colours.map((one) => ink(one));
    const tintOf = new Uint16Array(looks.length).map((_, code) => ((1 + looks[code][1]) << 8) | looks[code][0]);
    paints.fill(0);
    looks.forEach(([look], code) => (paints[tintOf[code]] = inks[look]));
    paints[1] = ink(style("--outside"), 75);
    shades = { codes, tintOf };
    showLegend(colours, entries);
    arrange();
  }

  // Points that are not selected are drawn faintly, behind the others.
  function arrange() {
    const { codes, tintOf } = shades;
    if (selected) for (let i = 0; i < points.n; i++) tints[i] = selected[i] ? tintOf[codes[i]] : 1;
    else for (let i = 0; i < points.n; i++) tints[i] = tintOf[codes[i]];
    draw();
  }

  function showLegend(colours, entries) {
    if (colour.value === "loss") {
      const swatches = mapElement("span", null, { className: "map-ramp" });
      swatches.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map(ramps()).join(", ")})`;
      legend.replaceChildren(mapDecimal(scale.low), swatches, `${mapDecimal(scale.clip)} and more`);
      return;
    }
    const title = colour.selectedOptions[0].textContent;
    legend.replaceChildren(...entries.slice(0, 40).map(({ code, name, mass }) => {
      const swatch = mapElement("i", null, {});
      swatch.style.background = colours[code];
      const button = mapElement("button", null, { type: "button" },
        swatch, mapElement("bdi", name), mapElement("span", mapCount(mass)));
      button.addEventListener("click", () => {
        const { codes } = points.columns[colour.value];
        select(new Uint8Array(points.n).map((_, i) => Number(codes[i] === code)), `${title}: ${name}`);
      });
      return button;
    }), ...(entries.length > 40 ? [`and ${mapCount(entries.length - 40)} more values`] : []));
  }

  // Drawing

  function draw() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      drawNow();
    });
  }

  function drawNow() {
    if (!width) return;
    const [W, H] = [canvas.width, canvas.height];
    const base =
      points.n <= 2000 ? 3.2 : points.n <= 8000 ? 2.4 : points.n <= 40000 ? 1.7 : points.n <= 200000 ? 1 : 0.5;
    const radius = Math.min(6, base * Math.max(1, (view.scale / view.whole) ** 0.35)) * ratio;
    const reach = Math.floor(radius);
    const spans = [];
    for (let dy = -reach; dy <= reach; dy++) {
      const half = Math.floor(Math.sqrt(radius * radius - dy * dy));
      spans.push(dy * W - half, dy * W + half);
    }
    const [k, left, bottom] = [view.scale * ratio, view.left * ratio, view.bottom * ratio];
    const { n, x, y } = points;
    const [right, low] = [W - reach - 1, H - reach - 1];
    front.fill(0);
    for (let i = 0; i < n; i++) {
      const px = left + x[i] * k, py = bottom - y[i] * k;
      if (px < reach || py < reach || px > right || py > low) continue;
      const at = ((py + 0.5) | 0) * W + ((px + 0.5) | 0), tint = tints[i], rank = tint & 0xff00;
      if (!reach) {
        if (rank >= (front[at] & 0xff00)) front[at] = tint;
      } else {
        for (let s = 0; s < spans.length; s += 2)
          for (let a = at + spans[s]; a <= at + spans[s + 1]; a++) if (rank >= (front[a] & 0xff00)) front[a] = tint;
      }
    }
    for (let a = 0; a < front.length; a++) pixels[a] = paints[front[a]];
    context.putImageData(image, 0, 0);
    if (pinnedPoint >= 0) {
      context.strokeStyle = style("--ink");
      context.lineWidth = 2 * ratio;
      context.beginPath();
      context.arc(left + points.x[pinnedPoint] * k, bottom - points.y[pinnedPoint] * k, 7 * ratio, 0, 2 * Math.PI);
      context.stroke();
    }
    if (path) {
      context.save();
      context.scale(ratio, ratio);
      context.strokeStyle = style("--ink");
      context.setLineDash([5, 4]);
      context.beginPath();
      outline().forEach(([cx, cy]) => context.lineTo(cx, cy));
      context.closePath();
      context.stroke();
      context.restore();
    }
  }

  function fit() {
    const margin = 14;
    view.scale = view.whole = Math.min((width - 2 * margin) / widest, (height - 2 * margin) / highest);
    view.left = (width - widest * view.scale) / 2;
    view.bottom = (height + highest * view.scale) / 2;
    own = true;
    draw();
  }

  function zoom(factor, cx = width / 2, cy = height / 2) {
    const next = Math.min(Math.max(view.scale * factor, view.whole / 2), view.whole * 500);
    view.left = cx - ((cx - view.left) * next) / view.scale;
    view.bottom = cy + ((view.bottom - cy) * next) / view.scale;
    view.scale = next;
    own = false;
    draw();
  }

  function move(dx, dy) {
    view.left += dx;
    view.bottom += dy;
    own = false;
    draw();
  }

  function measure() {
    const box = canvas.getBoundingClientRect();
    if (!box.width || matchMedia("print").matches) return; // paper shows what the screen shows
    [width, height, ratio] = [box.width, box.height, Math.min(devicePixelRatio || 1, 2)];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    image = context.createImageData(canvas.width, canvas.height);
    pixels = new Uint32Array(image.data.buffer);
    front = new Uint16Array(pixels.length);
    if (own) fit();
    drawNow(); // at once, because setting the size of a canvas clears it
  }

  new ResizeObserver(measure).observe(canvas);
  dark.addEventListener("change", recolour);

  // What lies where

  const onData = ([cx, cy]) => [(cx - view.left) / view.scale, (view.bottom - cy) / view.scale];

  function nearest([cx, cy], within = 10) {
    const [x, y] = onData([cx, cy]);
    let best = (within / view.scale) ** 2, found = -1;
    for (let i = 0; i < points.n; i++) {
      const dx = points.x[i] - x, dy = points.y[i] - y;
      const away = dx * dx + dy * dy;
      if (away < best) [best, found] = [away, i];
    }
    return found;
  }

  // The corners of the rectangle or the lasso that is being drawn.
  function outline() {
    if (!path.box) return path.corners;
    const [[a, b], [c, d]] = [path.corners[0], path.corners.at(-1)];
    return [[a, b], [c, b], [c, d], [a, d]];
  }

  const valueOfRole = (role, i) => {
    const column = points.columns.find((one) => one.role === role);
    return column ? column.values[column.codes[i]] : null;
  };
  const verdict = (i) =>
    [valueOfRole("label", i), valueOfRole("prediction", i)].filter((word) => word !== null).join(" → ");
  const lossAt = (i) => (points.level && points.level[i] <= points.loss.levels ? mapDecimal(lossOf(i)) : null);

  function showHover([cx, cy], i = nearest([cx, cy])) {
    hover.hidden = i < 0;
    canvas.classList.toggle("over", i >= 0);
    if (i < 0) return;
    const lines = [points.idOf(i), verdict(i), lossAt(i) === null ? "" : `loss ${lossAt(i)}`].filter(Boolean);
    const image = mapThumbnail(points, i);
    hover.replaceChildren(...(image ? [image] : []),
      mapElement("div", null, {}, ...lines.map((line) => mapElement("span", line))));
    hover.style.left = `${Math.min(Math.max(cx + 14, 0), width - hover.offsetWidth)}px`;
    hover.style.top = `${cy + 14 + hover.offsetHeight > height ? cy - 10 - hover.offsetHeight : cy + 14}px`;
  }

  function pin(i) {
    pinnedPoint = i;
    pinned.hidden = i < 0;
    draw();
    if (i < 0) return;
    const facts = points.columns.filter((column) => !["finding", "slice"].includes(column.role));
    const list = mapElement("dl", null, {}, ...facts.flatMap((column) =>
      [mapElement("dt", column.name), mapElement("dd", column.values[column.codes[i]])]));
    if (lossAt(i) !== null) list.append(mapElement("dt", "Loss"), mapElement("dd", lossAt(i)));
    const numbers = [...points.members].filter(([, places]) => places.includes(i)).map(([number]) => number);
    const within = (name, href) => mapElement("p", "In ", {}, mapElement("a", name, { href }));
    const links = numbers.length
      ? numbers.map((number) => within(points.names[number], `#finding-${number}`))
      : [mapElement("p", "In no finding.", { className: "note" })];
    const { tree, leaf } = points;
    if (tree && leaf[i]) links.push(within(nodeName(tree, leaf[i] - 1), `#node-${tree.ids[leaf[i] - 1]}`));
    else if (tree) links.push(
      mapElement("p", "Not in the tree, which was not searched with it.", { className: "note" }));
    const image = mapThumbnail(points, i);
    pinned.replaceChildren(mapElement("h3", points.idOf(i)), ...(image ? [image] : []), ...links, list);
  }

  // Describes a point at once: on a phone, the text below the map is out of sight.
  function press(i, at) {
    pin(i);
    showHover(at, i);
  }

  // Selecting

  // The corners of a lasso or a rectangle are passed on, too: the explorer makes a filter of them.
  function select(inside, title, corners = null) {
    selected = inside;
    showSelection(title);
    arrange();
    section.dispatchEvent(new CustomEvent("chosen", { detail: { corners, title } }));
  }

  const choose = (corners, title) => select(pointsWithin(points, corners), title, corners);

  function clear() {
    selected = null;
    summary.hidden = hover.hidden = true;
    pin(-1);
    arrange();
  }

  function showSelection(title) {
    const list = listed(selected);
    const d = describePoints(points, list);
    const containers = containersOf(points, selected, list, d.mass);
    const rows = [
      ["Examples",
        points.weight ? `${mapCount(d.points)} drawn, which stand for ${mapCount(d.mass)}` : mapCount(d.points)],
      ["Share of all", mapShare(d.mass / d.all)],
    ];
    if (d.interval) {
      rows.push(["Accuracy",
        `${mapShare(d.accuracy)}, 95 % interval ${mapShare(d.interval[0])} to ${mapShare(d.interval[1])}`]);
      if (d.outside !== null) rows.push(["Accuracy of all others", mapShare(d.outside)]);
      if (d.wrongs) rows.push(["Share of all errors", mapShare(d.wrong / d.wrongs)]);
    }
    if (d.lossInside !== null) {
      const others = d.lossOutside === null ? "" : `, of all others ${mapDecimal(d.lossOutside)}`;
      rows.push(["Mean loss", mapDecimal(d.lossInside) + others]);
    }
    const numbers = mapElement("dl", null, {}, ...rows.flatMap(([name, value]) =>
      [mapElement("dt", name), mapElement("dd", value)]));
    const save = mapElement("button", "Ids as CSV", { type: "button", className: "map-save" });
    save.addEventListener("click", saveIds);
    const drop = mapElement("button", "Clear", { type: "button", className: "map-clear" });
    drop.addEventListener("click", clear);
    summary.replaceChildren(
      mapElement("h3", title),
      numbers,
      ...(points.thumbnail ? [strip(list)] : []),
      ...(containers.length ? [containersTable(containers)] : []),
      ...(d.enriched.length ? [moreCommon(d.enriched)] : []),
      mapElement("p",
        "This only describes the selection and tests nothing. A part that is chosen by eye because it looks bad " +
        "looks worse than it is: the interval holds for a part that was fixed beforehand, and no p value would be " +
        "valid here. Test it on examples that were not used to choose it (browse.py does).", { className: "note" }),
      mapElement("p", null, { className: "map-acts" }, ...(d.points ? [save] : []), drop),
    );
    summary.hidden = false;
  }

  // Some of the selected points that have a thumbnail, spread over the selection.
  function strip(list) {
    const some = list.filter((i) => points.thumbnail[i] >= 0);
    const length = Math.min(MAP_STRIP, some.length);
    const shown = Array.from({ length }, (_, k) => some[Math.floor((k * some.length) / length)]);
    return mapElement("p", null, { className: "map-strip" }, ...shown.map((i) => {
      const button = mapElement("button", null,
        { type: "button", ariaLabel: points.idOf(i), title: points.idOf(i) },
        mapThumbnail(points, i));
      button.addEventListener("click", () => pin(i));
      return button;
    }));
  }

  function sharesTable(heads, rows, className = "map-more-common") {
    const heading = mapElement("tr", null, {}, ...heads.map((word, i) =>
      mapElement("th", word, { scope: "col", className: i ? "n" : "" })));
    const cell = (share) => mapElement("td", mapShare(share), { className: "n" });
    const body = rows.map(([head, ...shares]) => mapElement("tr", null, {}, head, ...shares.map(cell)));
    return mapElement("table", null, { className },
      mapElement("thead", null, {}, heading), mapElement("tbody", null, {}, ...body));
  }

  const moreCommon = (enriched) =>
    sharesTable(["More common inside", "Inside", "Outside"], enriched.map((one) => {
      const head = mapElement("th", null, { scope: "row" }, `${one.name}: `, mapElement("bdi", one.value));
      return [head, one.share, one.other];
    }));

  const containersTable = (containers) =>
    sharesTable(["It lies in", "Share of these", "Share of that"], containers.map((container) => {
      const link = mapElement("a", container.name, { href: container.href });
      return [mapElement("th", null, { scope: "row" }, link), container.share, container.covered];
    }), "map-containers");

  function saveIds() {
    // as formula_free in delimited.py: no id becomes a formula in a spreadsheet
    const formula = /^(?![+-](\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$)[=+\-@\t\r\n＝＋－＠]/;
    const quoted = (row) => `"${points.ids[row].replace(formula, "'$&").replaceAll('"', '""')}"`;
    const lines = ['"id"', ...Array.from(points.row.filter((_, i) => selected[i]).sort(), quoted)];
    const link = mapElement("a", null, {
      href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" })),
      download: "selection.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  // Pointer, wheel, keys, buttons

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  const fingers = new Map(); // during a pinch: where each pointer is

  function pinch(event) {
    const spread = () => {
      const [[ax, ay], [bx, by]] = [...fingers.values()];
      return [Math.hypot(ax - bx, ay - by), (ax + bx) / 2, (ay + by) / 2];
    };
    const [before, x, y] = spread();
    fingers.set(event.pointerId, place(event));
    const [after, cx, cy] = spread();
    move(cx - x, cy - y);
    if (before && after) zoom(after / before, cx, cy);
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || fingers.size === 2) return;
    fingers.set(event.pointerId, place(event));
    canvas.setPointerCapture(event.pointerId);
    hover.hidden = true;
    drag = { from: place(event), last: place(event), moved: fingers.size === 2 };
    path = fingers.size === 1 && (tool === "lasso" || event.shiftKey)
      ? { box: event.shiftKey, corners: [drag.from] } : null;
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (!drag) return showHover(at);
    if (!fingers.has(event.pointerId)) return;
    if (fingers.size === 2) return pinch(event);
    fingers.set(event.pointerId, at);
    drag.moved ||= Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) > 4;
    if (path) {
      const last = path.corners.at(-1);
      if (path.box || Math.hypot(at[0] - last[0], at[1] - last[1]) > 2) path.corners.push(at);
      draw();
    } else if (drag.moved) {
      move(at[0] - drag.last[0], at[1] - drag.last[1]);
    }
    drag.last = at;
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!fingers.delete(event.pointerId)) return;
    if (fingers.size) {
      drag.last = [...fingers.values()][0]; // the other finger keeps moving
      return;
    }
    const [ended, lasso] = [drag, path];
    if (lasso && ended.moved) {
      const corners = outline().map(onData);
      path = drag = null;
      choose(corners, lasso.box ? "Chosen by a rectangle" : "Chosen by a lasso");
    } else {
      path = drag = null;
      const at = place(event);
      if (!ended.moved) press(nearest(at), at);
      draw();
    }
  });
  canvas.addEventListener("pointercancel", (event) => {
    fingers.delete(event.pointerId);
    if (!fingers.size) path = drag = null;
    draw();
  });
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && (hover.hidden = true));
  for (const name of ["touchstart", "touchmove"]) {
    // so that the page does not zoom
    canvas.addEventListener(
      name,
      (event) => event.touches.length > 1 && event.cancelable && event.preventDefault(),
      { passive: false });
  }
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls on
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...place(event));
  }, { passive: false });
  const keys = {
    ArrowLeft: () => move(40, 0), ArrowRight: () => move(-40, 0),
    ArrowUp: () => move(0, 40), ArrowDown: () => move(0, -40),
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: fit, Escape: clear,
    Enter: () => press(nearest([width / 2, height / 2], Infinity), [width / 2, height / 2]),
  };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  const acts = { in: () => zoom(1.5), out: () => zoom(1 / 1.5), whole: fit };
  for (const button of section.querySelectorAll("button[data-act]"))
    button.addEventListener("click", acts[button.dataset.act]);
  const tools = section.querySelectorAll("button[data-tool]");
  for (const button of tools) {
    button.addEventListener("click", () => {
      tool = button.dataset.tool;
      canvas.classList.toggle("lasso", tool === "lasso");
      for (const other of tools) other.setAttribute("aria-pressed", String(other === button));
    });
  }
  colour.addEventListener("change", recolour);
  recolour();
  measure();
  return {
    highlight(number) {
      const inside = new Uint8Array(points.n);
      for (const i of points.members.get(number)) inside[i] = 1;
      select(inside, `Finding ${number}: ${points.names[number]}`);
      section.scrollIntoView();
    },
    highlightNode(id) {
      select(pointsBelow(points, id), nodeName(points.tree, points.tree.ids.indexOf(id)));
      section.scrollIntoView();
    },
    choose,
    drawNow,
  };
}

if (mapSection) {
  mapSection.querySelector(".map-body").hidden = false;
  let made = null;
  const map = () => (made ??= readPoints().then((points) => {
    drawnMap = makeMap(mapSection, points);
    mapSection.dispatchEvent(new Event("drawn"));
    return drawnMap;
  }));
  new IntersectionObserver((seen, observer) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    observer.disconnect();
    map();
  }, { rootMargin: "400px" }).observe(mapSection);
  // The page may be printed before anyone has scrolled to the map.
  const idle = window.requestIdleCallback ?? ((run) => setTimeout(run, 300));
  if (document.getElementById("points").textContent.length < MAP_CHEAP) addEventListener("load", () => idle(map));
  addEventListener("beforeprint", () => drawnMap?.drawNow());
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.highlight");
    if (!button) return;
    const { finding, node } = button.dataset;
    if (finding) (await map()).highlight(Number(finding));
    else (await map()).highlightNode(Number(node));
  });
}
initMap(document);
