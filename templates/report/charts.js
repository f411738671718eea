// Draws the PSN charts with vega. Expressions are interpreted (ast), never compiled, so that the
// page's policy can forbid eval. Without this script the SVG drawn beforehand stays in place.
const charts = JSON.parse(document.getElementById("charts").textContent);
const tip = document.createElement("div");
tip.className = "tooltip";
tip.hidden = true;
tip.setAttribute("role", "status");
document.body.append(tip);

function tooltip(_handler, event, _item, value) {
  tip.hidden = !value;
  if (!value) return;
  tip.replaceChildren();
  for (const [name, text] of Object.entries(value)) {
    const line = document.createElement("div");
    const strong = document.createElement("b");
    strong.textContent = text;
    line.append(`${name} `, strong);
    tip.append(line);
  }
  const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, event.clientY - tip.offsetHeight - 10)}px`;
}

for (const [id, spec] of Object.entries(charts)) {
  const place = document.querySelector(`[data-chart="${CSS.escape(id)}"]`);
  const drawn = [...place.childNodes];
  const options = { mode: "vega", ast: true, actions: false, defaultStyle: false, renderer: "svg", tooltip };
  vegaEmbed(place, spec, options).then(({ view }) => {
    view.addEventListener("click", (_event, item) => {
      if (item?.datum?.frame) document.dispatchEvent(new CustomEvent("choose-frame", { detail: item.datum.frame }));
    });
    place.dataset.interactive = "";
  }).catch((error) => {
    place.replaceChildren(...drawn);
    console.error(error);
  });
}
