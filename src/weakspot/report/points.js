// Reads the examples of the map, and says what is known of a part of them.
const MAP_CELL = 8; // bits of a coordinate that are left out where points are put in order

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
  [points.x, points.y, points.level] = await Promise.all([packed.x, packed.y, packed.loss].map((part) => numbers(part, 2, Uint16Array)));
  points.weight = await numbers(packed.weight, 4, Float32Array);
  const codes = await Promise.all(packed.columns.map((part) => numbers(part, 1, Uint8Array)));
  points.columns.forEach((column, i) => (column.codes = codes[i]));
  const steps = await numbers(packed.members, 4, Uint32Array);
  let at = 0;
  points.members = new Map(points.findings.map(([number, many]) => {
    let place = 0;
    return [number, new Uint32Array(many).map(() => (place += steps[at++]))];
  }));
  sortByPlace(points);
  const scale = points.loss;
  points.losses = Float64Array.from({ length: scale ? scale.levels + 1 : 0 }, (_, level) => scale.low + scale.scale * Math.expm1((scale.top * level) / scale.levels));
  for (const column of points.columns) column.masses = massesOf(points, column.codes, null);
  return points;
}

// Puts points that lie side by side next to each other: a million of them are drawn several times faster so.
// `row` says where a point stood, which is where its id stands.
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
  const moved = (values) => values && values.map((_, i) => values[row[i]]);
  for (const name of ["x", "y", "level", "weight"]) points[name] = moved(points[name]);
  for (const column of points.columns) column.codes = moved(column.codes);
  for (const places of points.members.values()) for (let k = 0; k < places.length; k++) places[k] = place[places[k]];
  points.row = row;
  points.idOf = (i) => points.ids[row[i]];
}

// How many examples have each code: of all points, or of those inside.
function massesOf({ n, weight }, codes, inside) {
  const masses = weight ? new Float64Array(256) : new Uint32Array(256);
  if (weight) for (let i = 0; i < n; i++) masses[codes[i]] += inside ? weight[i] * inside[i] : weight[i];
  else if (inside) for (let i = 0; i < n; i++) masses[codes[i]] += inside[i];
  else for (let i = 0; i < n; i++) masses[codes[i]]++;
  return masses;
}

// Numbers as people read them.
const mapCount = (value) => (value < 9.95 && value !== Math.round(value) ? value.toFixed(1) : Math.round(value).toLocaleString("en").replaceAll(",", "\u202f"));
const mapShare = (share) => {
  const points = 100 * share;
  if (points > 0 && points < 1) return points < 0.1 ? "<\u202f0.1\u202f%" : `${points.toFixed(1)}\u202f%`;
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

// What is known of a group of points against all others: describes, tests nothing.
function describePoints(points, inside) {
  const { n, weight, level, losses } = points;
  const told = { points: 0, mass: 0, all: 0, wrong: 0, wrongs: 0 };
  let squares = 0;
  const loss = [0, 0], known = [0, 0]; // outside and inside
  for (let i = 0; i < n; i++) {
    const w = weight ? weight[i] : 1, here = inside[i];
    told.all += w;
    if (here) (told.points++, (told.mass += w), (squares += w * w));
    if (level && level[i] < losses.length) (loss[here] += losses[level[i]] * w, (known[here] += w));
  }
  [told.lossOutside, told.lossInside] = loss.map((sum, here) => (known[here] ? sum / known[here] : null));
  const right = points.columns.find((column) => column.role === "correct");
  if (right) [told.wrong, told.wrongs] = [massesOf(points, right.codes, inside)[1], right.masses[1]];
  if (right && told.mass) {
    told.accuracy = 1 - told.wrong / told.mass;
    told.interval = wilson(told.accuracy, (told.mass * told.mass) / squares);
    told.outside = told.all > told.mass ? 1 - (told.wrongs - told.wrong) / (told.all - told.mass) : null;
  }
  told.enriched = enrichedPoints(points, inside, told.mass, told.all - told.mass);
  return told;
}

// The values that are commoner inside, ranked as the report ranks them: share · log(lift).
function enrichedPoints(points, inside, mass, rest) {
  const found = [];
  if (!mass || !rest) return found;
  for (const column of points.columns) {
    if (!["label", "prediction", "attribute"].includes(column.role)) continue;
    const here = massesOf(points, column.codes, inside);
    column.values.forEach((value, code) => {
      const there = Math.max(column.masses[code] - here[code], 0);
      const [share, other] = [here[code] / mass, there / rest];
      const smoothed = ((here[code] + 0.5) / (mass + 1)) / ((there + 0.5) / (rest + 1));
      if (share > 1.2 * other) found.push({ name: column.name, value, share, other, score: share * Math.log(smoothed) });
    });
  }
  return found.filter((one) => one.score > 0).sort((a, b) => b.score - a.score).slice(0, 8);
}

// Which points lie within a polygon, by the rule of odd and even: of each row of the grid the places where the outline
// crosses it are found once, and a point counts those to its right.
function pointsWithin({ n, x, y }, corners) {
  const starts = new Uint32Array(65538);
  const crossings = (visit) => corners.forEach(([bx, by], k) => {
    const [ax, ay] = corners[(k || corners.length) - 1];
    const last = Math.min(Math.ceil(Math.max(ay, by)) - 1, 65535);
    for (let row = Math.max(Math.ceil(Math.min(ay, by)), 0); row <= last; row++) visit(row, ((bx - ax) * (row - ay)) / (by - ay) + ax);
  });
  crossings((row) => starts[row + 2]++);
  for (let row = 2; row < starts.length; row++) starts[row] += starts[row - 1];
  const places = new Float64Array(starts[65537]);
  crossings((row, place) => (places[starts[row + 1]++] = place));
  const inside = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    const px = x[i], row = y[i];
    let odd = 0;
    for (let c = starts[row]; c < starts[row + 1]; c++) if (px < places[c]) odd ^= 1;
    inside[i] = odd;
  }
  return inside;
}
