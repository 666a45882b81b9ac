// Inserts a folded part when it is opened or a link leads into it.
const folded = JSON.parse(document.getElementById("folded").textContent);
const opening = new WeakMap();
const missing = document.querySelector("output.missing"); // if anything is left out: says so, and where to find it

function inflated(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
}

const unpack = (base64) => inflated(base64).text();
const unpackBytes = async (base64) => new Uint8Array(await inflated(base64).arrayBuffer());

// Returns a promise that the part of a <details> is inserted.
function fill(details) {
  if (details.dataset.part !== undefined && !opening.has(details)) {
    opening.set(details, (async () => {
      const part = document.createElement("template");
      const packed = folded.parts[details.dataset.part];
      if (packed) part.innerHTML = await unpack(packed);
      else part.content.append(leftOut());
      fillImages(part.content);
      sortTables(part.content);
      initIds(part.content);
      initSearch(part.content);
      initMap(part.content);
      details.append(part.content);
      delete details.dataset.part;
      document.dispatchEvent(new Event("unfolded"));
    })());
  }
  return opening.get(details);
}

function leftOut() {
  const note = document.createElement("p");
  note.className = "note";
  note.textContent = missing.dataset.words;
  return note;
}

// Reports that the target of a link is not in the page.
function reportMissing(name) {
  if (!missing) return;
  const [kind, number] = [name.replace(/-.*/, ""), name.replace(/^[^-]*-?/, "")];
  missing.textContent = `${kind[0].toUpperCase()}${kind.slice(1)} ${number}: ${missing.dataset.words}`;
}

async function reveal(name) {
  const way = [];
  for (let part = folded.holds[name]; part !== undefined; part = folded.within[part]) way.unshift(part);
  let last = null;
  for (const part of way) {
    const details = document.querySelector(`details[data-part="${part}"]`);
    if (details) {
      await fill(details);
      details.open = true;
      last = details;
    }
  }
  const target = document.getElementById(name) ?? last;
  if (!target) reportMissing(name);
  const own = target?.querySelector(":scope > details"); // of a node of the tree
  if (own) {
    await fill(own);
    own.open = true;
  }
  for (let above = target?.closest("details"); above; above = above.parentElement.closest("details")) above.open = true;
  target?.scrollIntoView();
}

const revealed = () => location.hash && reveal(decodeURIComponent(location.hash.slice(1)));
document.addEventListener("toggle", (event) => event.target.open && fill(event.target), true);
document.addEventListener("click", (event) => {
  if (missing) missing.textContent = "";
  const link = event.target.closest('a[href^="#"]');
  if (link && link.hash === location.hash) revealed(); // pressed again: the address does not change
});
addEventListener("hashchange", revealed);
revealed();
