// The packet table: choosing a row shows its bytes and the fields they mean. All text goes in as
// text, never as markup. Data: shapes (which header field lies where) and packets (bytes, values).
const root = document.documentElement;
root.classList.replace("no-script", "script");
const data = document.getElementById("packet-data");
if (data) inspector(JSON.parse(data.textContent));

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function inspector({ headers, shapes, packets }) {
  const table = document.getElementById("packet-table");
  const rows = [...table.tBodies[0].querySelectorAll("tr[data-row]")];
  const narrow = matchMedia("(max-width: 40rem)");
  let chosen = null;

  table.setAttribute("role", "grid");
  for (const row of rows) {
    row.tabIndex = -1;
    row.setAttribute("aria-selected", "false");
  }

  function choose(row, { focus = false, scroll = true } = {}) {
    chosen?.setAttribute("aria-selected", "false");
    if (chosen) chosen.tabIndex = -1;
    chosen = row;
    row.setAttribute("aria-selected", "true");
    row.tabIndex = 0;
    if (focus) row.focus({ preventScroll: true });
    if (scroll) within(row);
    show(packets[Number(row.dataset.row)], row);
  }

  function within(row) {
    const box = table.parentElement;
    const head = table.tHead.offsetHeight;
    const top = row.offsetTop - head;
    if (top < box.scrollTop) box.scrollTop = top;
    const bottom = row.offsetTop + row.offsetHeight - box.clientHeight;
    if (bottom > box.scrollTop) box.scrollTop = bottom;
  }

  function show(packet, row) {
    document.getElementById("dissection").hidden = false;
    document.getElementById("chosen").textContent = `Frame ${row.cells[0].textContent}: ${row.cells[3].textContent}`;
    const fields = shapes[packet.shape];
    const cells = hex(packet, fields);
    tree(packet, fields, cells);
  }

  function hex(packet, fields) {
    const width = narrow.matches ? 8 : 16;
    const place = document.getElementById("hex");
    place.classList.toggle("by8", width === 8);
    const owner = new Array(packet.length).fill(-1);
    fields.forEach(([, , bit, bits], index) => {
      for (const at of bytes(bit, bits)) owner[at] = index;
    });
    const cells = [];
    const lines = [];
    const parts = [[0, packet.head], [packet.length - packet.tail.length / 2, packet.tail]];
    for (const [start, text] of parts) {
      if (!text) continue;
      const end = start + text.length / 2;
      if (start > 0) lines.push(element("div", { class: "cut" }, `${start - packet.head.length / 2} bytes of payload are left out of this page`));
      for (let base = start - (start % width); base < end; base += width) {
        const line = element("div", { class: "hex-row" }, element("span", { class: "at" }, base.toString(16).padStart(4, "0")));
        let ascii = "";
        for (let at = base; at < base + width; at++) {
          const value = at >= start && at < end ? text.slice((at - start) * 2, (at - start) * 2 + 2) : "";
          const code = parseInt(value, 16);
          ascii += value && code >= 32 && code < 127 ? String.fromCharCode(code) : value ? "·" : " ";
          const byte = element("span", {}, value);
          if (value) {
            cells[at] = byte;
            byte.className = "byte";
            const index = owner[at];
            if (index >= 0) byte.classList.add(`k-${headers[fields[index][0]].kind}`);
            if (at > base && cells[at - 1] && index === owner[at - 1]) byte.classList.add("joined");
          }
          line.append(byte);
        }
        line.append(element("span", { class: "ascii" }, ascii));
        lines.push(line);
      }
    }
    place.replaceChildren(...lines);
    return cells;
  }

  function tree(packet, fields, cells) {
    const shut = new Set(["Ethernet", "VLAN", "IPv4", "IPv6", "UDP", "GRH", "Payload", "Pad"]);
    const place = document.getElementById("tree");
    const readout = document.getElementById("readout");
    const hint = "Point at a byte or move through the fields to see where each one lies.";
    const groups = [];
    let current = null;
    let list = null;
    readout.textContent = hint;

    fields.forEach(([header, name, bit, bits], index) => {
      const { name: title, kind, size, doc, fields: meanings } = headers[header];
      if (current !== header) {
        current = header;
        list = element("dl");
        const summary = element("summary", { class: `k-${kind}` }, title, " ", element("span", { class: "size" }, `${size}. ${doc}`));
        const details = element("details", {}, summary, list);
        details.open = !shut.has(title);
        groups.push(details);
      }
      const [value, means] = packet.values[index];
      const detail = element("dd", {}, value);
      if (means) detail.append(" ", element("span", { class: "means" }, means));
      const line = element("div", { tabindex: "-1" }, element("dt", {}, name), detail);
      const places = bytes(bit, bits);
      const mark = (on) => {
        for (const at of places) cells[at]?.classList.toggle("hit", on);
        line.classList.toggle("hit", on);
        const first = bit >> 3;
        const where = bits % 8 || bit % 8 ? `byte ${first}, bit ${bit % 8}` : `byte ${first}`;
        readout.textContent = on ? `${title} ${name}: ${bits} ${bits === 1 ? "bit" : "bits"} from ${where}. ${meanings[name]}` : hint;
      };
      for (const event of ["mouseenter", "focus"]) line.addEventListener(event, () => mark(true));
      for (const event of ["mouseleave", "blur"]) line.addEventListener(event, () => mark(false));
      for (const at of places) {
        cells[at]?.addEventListener("mouseenter", () => mark(true));
        cells[at]?.addEventListener("mouseleave", () => mark(false));
        cells[at]?.addEventListener("click", () => {
          line.closest("details").open = true;
          line.focus();
        });
      }
      list.append(line);
    });
    const first = groups.find((group) => group.open)?.querySelector("dl > div");
    if (first) first.tabIndex = 0;
    place.replaceChildren(...groups);
  }

  function bytes(bit, bits) {
    const places = [];
    for (let at = bit >> 3; at < (bit + bits + 7) >> 3; at++) places.push(at);
    return places;
  }

  document.getElementById("tree").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const line = event.target.closest("dl > div");
    if (!step || !line) return;
    event.preventDefault();
    const lines = [...event.currentTarget.querySelectorAll("details[open] dl > div")];
    const next = lines[lines.indexOf(line) + step];
    if (!next) return;
    line.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -Infinity, End: Infinity };
  table.addEventListener("keydown", (event) => {
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const visible = rows.filter((row) => !row.hidden);
    const at = visible.indexOf(chosen) + moves[event.key];
    const next = visible[Math.max(0, Math.min(visible.length - 1, at))];
    if (next) choose(next, { focus: true });
  });
  table.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-row]");
    if (row) choose(row, { focus: true });
  });

  const filter = document.getElementById("filter");
  filter.form.addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      left += row.hidden ? 0 : 1;
    }
    for (const gap of table.querySelectorAll("tr.gap")) gap.hidden = words.length > 0;
    filter.form.querySelector("output").textContent = words.length ? `${left} of ${rows.length} shown` : "";
  });

  function byFrame(frame) {
    return rows.find((row) => row.id === `frame-${frame}`);
  }
  function follow() {
    const row = byFrame(location.hash.replace("#frame-", ""));
    if (row) choose(row, { focus: true });
  }
  addEventListener("hashchange", follow);
  document.addEventListener("choose-frame", ({ detail }) => {
    const row = byFrame(detail);
    if (!row) return;
    choose(row, { focus: true });
    document.getElementById("packets").scrollIntoView();
  });
  narrow.addEventListener("change", () => chosen && choose(chosen, { scroll: false }));

  if (byFrame(location.hash.replace("#frame-", ""))) follow();
  else if (rows.length) choose(rows[data.dataset.first ?? 0], { scroll: false });
}
