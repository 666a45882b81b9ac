// Inserts images that are shown more than once or were folded away, and enlarges an image that is pressed.
const images = JSON.parse(document.getElementById("images").textContent);
for (const image of document.querySelectorAll("img[data-image][src]")) images[image.dataset.image] ??= image.src;

function fillImages(root) {
  for (const image of root.querySelectorAll("img[data-image]:not([src])")) {
    const data = images[image.dataset.image];
    image.src = data.startsWith("data:") ? data : `data:image/webp;base64,${data}`;
  }
}

const enlarged = document.querySelector("dialog.enlarged");
let shown = null;

function enlarge(button) {
  shown = button;
  const figure = button.closest("figure");
  const pair = button.parentElement.classList.contains("thumbs") ? button.parentElement : button;
  const large = [...pair.querySelectorAll("img")].map((image) => {
    const copy = image.cloneNode();
    copy.classList.toggle("coarse", image.parentElement.classList.contains("coarse"));
    return copy;
  });
  const words = document.createElement("p");
  words.textContent = large[0].alt;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Close";
  close.addEventListener("click", () => enlarged.close());
  const thumbs = document.createElement("div");
  thumbs.append(...large);
  const caption = figure ? [figure.querySelector("figcaption").cloneNode(true)] : [];
  enlarged.replaceChildren(thumbs, words, ...caption, close);
  if (!enlarged.open) enlarged.showModal();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.thumb");
  if (button) enlarge(button);
  else if (event.target === enlarged) enlarged.close();
});
enlarged.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const firsts = "button.thumb:first-child, .strip > button.thumb";
  const group = [...shown.closest(".gallery, .strip").querySelectorAll(firsts)];
  const pair = shown.parentElement;
  const here = pair.classList.contains("thumbs") ? pair.firstElementChild : shown;
  const next = group[group.indexOf(here) + step];
  if (next) enlarge(next);
});
enlarged.addEventListener("close", () => shown?.focus());
fillImages(document);
