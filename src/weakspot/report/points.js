// Reads the examples of the map, and describes groups of them.
const MAP_CELL = 8; // low bits of a coordinate that are ignored when points are sorted

// The columns of the page's data as typed arrays.
async function readPoints() {
  const packed = JSON.parse(document.getElementById("points").textContent);
  const numbers = async (part, bytes, Kind) => {
    if (!part) return null;
    const planes = await unpackBytes(part);
    const n = planes.length / bytes;
    const raw = new Uint8Array(planes.length);
    for (let b = 0; b < bytes; b++) for (let i = 0; i < n; i++) raw[i * bytes + b] = planes[b * n + i];
    return new Kind(raw.buffer);
  };
  const points = { ...JSON.parse(await unpack(packed.header)), ids: JSON.parse(await unpack(packed.ids)) };
  [points.x, points.y, points.level] = await Promise.all(
    [packed.x, packed.y, packed.loss].map((part) => numbers(part, 2, Uint16Array)));
  points.weight = await numbers(packed.weight, 4, Float32Array);
  points.leaf = await numbers(packed.leaf, 4, Uint32Array);
  const codes = await Promise.all(packed.columns.map((part) => numbers(part, 1, Uint8Array)));
  points.columns.forEach((column, i) => (column.codes = codes[i]));
  const steps = await numbers(packed.members, 4, Uint32Array);
  let at = 0;
  points.members = new Map(points.findings.map(([number, many]) => {
    let place = 0;
    return [number, new Uint32Array(many).map(() => (place += steps[at++]))];
  }));
  await readThumbnails(points, numbers);
  sortByPlace(points);
  const scale = points.loss;
  points.losses = Float64Array.from(
    { length: scale ? scale.levels + 1 : 0 },
    (_, level) => scale.low + scale.scale * Math.expm1((scale.top * level) / scale.levels));
  for (const column of points.columns) column.masses = massesOf(points, column.codes, null);
  points.sums = sumsOf(points, null);
  return points;
}

// The position of each point's thumbnail in the sheets; -1 if it has none.
async function readThumbnails(points, numbers) {
  const packed = document.getElementById("sprites");
  if (!packed) return;
  const sprites = JSON.parse(packed.textContent);
  points.sprites = sprites;
  points.thumbnail = new Int32Array(points.n).fill(-1);
  (await numbers(sprites.points, 4, Uint32Array)).forEach((i, k) => (points.thumbnail[i] = k));
}

// Sorts points so that neighbours are next to each other in memory: a million are drawn several times faster.
// `row` is where each point was before, which is where its id is.
function sortByPlace(points) {
  const { n, x, y } = points;
  const cells = 16 - MAP_CELL;
  const cell = (i) => ((y[i] >> MAP_CELL) << cells) | (x[i] >> MAP_CELL);
  const starts = new Uint32Array((1 << (2 * cells)) + 1);
  for (let i = 0; i < n; i++) starts[cell(i) + 1]++;
  for (let c = 1; c < starts.length; c++) starts[c] += starts[c - 1];
  const [row, place] = [new Uint32Array(n), new Uint32Array(n)];
  for (let i = 0; i < n; i++) {
    place[i] = starts[cell(i)]++;
    row[place[i]] = i;
  }
  const moved = (values) => {
    if (!values) return values;
    const found = new values.constructor(n);
    for (let i = 0; i < n; i++) found[i] = values[row[i]];
    return found;
  };
  for (const name of ["x", "y", "level", "weight", "leaf", "thumbnail"]) points[name] = moved(points[name]);
  for (const column of points.columns) column.codes = moved(column.codes);
  for (const places of points.members.values()) for (let k = 0; k < places.length; k++) places[k] = place[places[k]];
  points.row = row;
  points.idOf = (i) => points.ids[row[i]];
}

// How many examples have each code: of all points, or of those in a list.
function massesOf({ n, weight }, codes, list) {
  const many = list ? list.length : n;
  if (weight) {
    const masses = new Float64Array(256);
    for (let k = 0; k < many; k++) {
      const i = list ? list[k] : k;
      masses[codes[i]] += weight[i];
    }
    return masses;
  }
  const masses = new Uint32Array(256);
  if (list) for (let k = 0; k < many; k++) masses[codes[list[k]]]++;
  else for (let i = 0; i < many; i++) masses[codes[i]]++;
  return masses;
}

// How many examples points stand for, the sum of the squares, and the total loss where losses are known.
function sumsOf({ n, weight, level, losses }, list) {
  const many = list ? list.length : n;
  let mass = 0, squares = 0, loss = 0, known = 0;
  for (let k = 0; k < many; k++) {
    const i = list ? list[k] : k, w = weight ? weight[i] : 1;
    mass += w;
    squares += w * w;
    if (!level || level[i] >= losses.length) continue;
    loss += losses[level[i]] * w;
    known += w;
  }
  return { mass, squares, loss, known };
}

// The positions of the marked points.
function listed(marks) {
  const list = new Uint32Array(marks.length);
  let many = 0;
  for (let i = 0; i < marks.length; i++) {
    list[many] = i;
    many += marks[i];
  }
  return list.slice(0, many);
}

// Numbers as people read them.
const mapCount = (value) =>
  value < 9.95 && value !== Math.round(value)
    ? value.toFixed(1)
    : Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
const mapShare = (share) => {
  const points = 100 * Number(share.toFixed(12)); // a mean of ones may differ from one by a rounding error
  if (points > 0 && points < 0.95) return points < 0.1 ? "<\u202f0.1\u202f%" : `${points.toFixed(1)}\u202f%`;
  return points > 99 && points < 100 ? ">\u202f99\u202f%" : `${points.toFixed(0)}\u202f%`;
};
const mapDecimal = (value) => String(Number(value.toPrecision(3)));

// Wilson's interval of a share, 95 %, at the effective number of examples.
function wilson(share, n) {
  const z = 1.959964;
  const middle = (share + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n));
  return [share > 0 ? Math.max(0, middle - half) : 0, share < 1 ? Math.min(1, middle + half) : 1];
}

// Describes a group of points compared with all others; tests nothing.
function describePoints(points, list) {
  const { mass, squares, loss, known } = sumsOf(points, list);
  const all = points.sums;
  const summary = { points: list.length, mass, all: all.mass };
  summary.lossInside = known ? loss / known : null;
  summary.lossOutside = all.known - known > 1e-9 * all.known ? (all.loss - loss) / (all.known - known) : null;
  const right = points.columns.find((column) => column.role === "correct");
  if (right && mass) {
    [summary.wrong, summary.wrongs] = [massesOf(points, right.codes, list)[1], right.masses[1]];
    summary.accuracy = 1 - summary.wrong / mass;
    summary.interval = wilson(summary.accuracy, (mass * mass) / squares);
    summary.outside = list.length < points.n ? 1 - (summary.wrongs - summary.wrong) / (all.mass - mass) : null;
  }
  summary.enriched = list.length < points.n ? enrichedPoints(points, list, mass, all.mass - mass) : [];
  return summary;
}

// The values that are more common inside, ranked as the report ranks them: share · log(lift).
function enrichedPoints(points, list, mass, rest) {
  const found = [];
  if (!mass) return found;
  for (const column of points.columns) {
    if (!["label", "prediction", "attribute"].includes(column.role)) continue;
    const here = massesOf(points, column.codes, list);
    column.values.forEach((value, code) => {
      const there = Math.max(column.masses[code] - here[code], 0);
      const [share, other] = [here[code] / mass, there / rest];
      const smoothed = ((here[code] + 0.5) / (mass + 1)) / ((there + 0.5) / (rest + 1));
      if (share > 1.2 * other)
        found.push({ name: column.name, value, share, other, score: share * Math.log(smoothed) });
    });
  }
  return found.filter((one) => one.score > 0).sort((a, b) => b.score - a.score).slice(0, 8);
}

// The findings and the tree's clusters that the points of a list lie in: the share of the list that lies in each, and
// the share of each that is in the list.
function containersOf(points, marks, list, mass) {
  const { weight, leaf, tree } = points;
  const found = [...points.members].map(([number, places]) => {
    let inside = 0, all = 0;
    for (let k = 0; k < places.length; k++) {
      const w = weight ? weight[places[k]] : 1;
      all += w;
      inside += w * marks[places[k]];
    }
    return { number, inside, all };
  });
  const findings = found.map(({ number, inside, all }) =>
    ({ href: `#finding-${number}`, name: points.names[number], inside, all }));
  const tally = (many, at) => {
    const sums = new Float64Array(tree.ids.length + 1);
    for (let k = 0; k < many; k++) sums[leaf[at(k)]] += weight ? weight[at(k)] : 1;
    return sums;
  };
  const [here, all] = tree ? [tally(list.length, (k) => list[k]), (tree.sums ??= tally(points.n, (k) => k))] : [[], []];
  const clusters = Array.from(here, (inside, node) => {
    const [href, name] = [node && `#node-${tree.ids[node - 1]}`, node && nodeName(tree, node - 1)];
    return { href, name, inside, all: all[node] };
  }).slice(1);
  const most = (containers, many) =>
    containers.filter((container) => container.inside).sort((a, b) => b.inside - a.inside).slice(0, many);
  return [...most(findings, 5), ...most(clusters, 8)].map((container) =>
    ({ ...container, share: container.inside / mass, covered: container.inside / container.all }));
}

const nodeName = (tree, node) =>
  (tree.names[node] ? `${tree.names[node]}, node ${tree.ids[node]}` : `Node ${tree.ids[node]}`);

// The points below a node of the tree; parents come before their children.
function pointsBelow({ n, leaf, tree }, id) {
  const below = new Uint8Array(tree.ids.length + 1);
  tree.ids.forEach((node, k) => (below[k + 1] = node === id || below[tree.parents[k] + 1]));
  const inside = new Uint8Array(n);
  for (let i = 0; i < n; i++) inside[i] = below[leaf[i]];
  return inside;
}

// Which points lie within a polygon, by the even-odd rule: the places where the outline crosses each row of the grid
// are computed once, and each point counts those to its right.
function pointsWithin({ n, x, y }, corners) {
  const starts = new Uint32Array(65538);
  const crossings = (visit) => corners.forEach(([bx, by], k) => {
    const [ax, ay] = corners[(k || corners.length) - 1];
    const last = Math.min(Math.ceil(Math.max(ay, by)) - 1, 65535);
    for (let row = Math.max(Math.ceil(Math.min(ay, by)), 0); row <= last; row++)
      visit(row, ((bx - ax) * (row - ay)) / (by - ay) + ax);
  });
  crossings((row) => starts[row + 2]++);
  for (let row = 2; row < starts.length; row++) starts[row] += starts[row - 1];
  const places = new Float64Array(starts[65537]);
  crossings((row, place) => (places[starts[row + 1]++] = place));
  const inside = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    const px = x[i], end = starts[y[i] + 1];
    let odd = 0;
    for (let c = starts[y[i]]; c < end; c++) odd ^= Number(px < places[c]);
    inside[i] = odd;
  }
  return inside;
}
