// Tables that are sorted and filtered, links that open what they lead to, and sliders. Without
// this script the page has all the same numbers.
"use strict";
const element = (name, attributes, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

function cellValue(row, column) {
  const text = row.cells[column].textContent.trim().replace(/−/g, "-");
  const number = parseFloat(text.replace(/(\d),(?=\d{3})/g, "$1"));
  return { text, number };
}

function sortBy(table, column, descending) {
  const rows = [...table.tBodies[0].rows];
  const values = new Map(rows.map((row) => [row, cellValue(row, column)]));
  const numbers = rows.every((row) => !Number.isNaN(values.get(row).number) || values.get(row).text === "–");
  const low = (value) => (Number.isNaN(value.number) ? -Infinity : value.number);
  rows.sort((a, b) => {
    const [one, other] = [values.get(a), values.get(b)];
    const order = numbers ? low(one) - low(other)
      : one.text.localeCompare(other.text, undefined, { numeric: true });
    return descending ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

function makeSortable(table) {
  if (table.tBodies[0].rows.length < 3 || table.classList.contains("confusion")) return;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = element("button", { type: "button", class: "sort", title: "Sort by this column" },
      ...head.childNodes);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(table, column, descending);
    });
    head.append(button);
  });
}

function makeFilterable(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 8 || table.classList.contains("confusion")) return;
  const count = element("output", { class: "soft small" });
  const box = element("input", { type: "search", placeholder: "Filter rows",
    "aria-label": "Filter the rows of this table" });
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
  table.parentElement.before(element("div", { class: "filter" }, box, count));
}

function openTarget() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}

function wilson(right, rows) {
  const z = 1.959964, share = right / rows, scale = 1 + z * z / rows;
  const middle = (share + z * z / (2 * rows)) / scale;
  const half = z * Math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / scale;
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

function startThreshold(part) {
  // Rows and right answers of each step of confidence, from 0 up.
  const [rows, right] = [JSON.parse(part.dataset.rows), JSON.parse(part.dataset.right)];
  const slider = part.querySelector("input");
  const all = rows.reduce((a, b) => a + b, 0);
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const update = () => {
    const from = Number(slider.value);
    const answered = rows.slice(from).reduce((a, b) => a + b, 0);
    const correct = right.slice(from).reduce((a, b) => a + b, 0);
    const show = { confidence: percent(from / (rows.length - 1)),
      coverage: `${percent(answered / all)} (${answered.toLocaleString("en")} of ${all.toLocaleString("en")})`,
      accuracy: answered ? percent(correct / answered) : "no row is answered",
      interval: answered ? wilson(correct, answered).map(percent).join(" to ") : "" };
    for (const [name, text] of Object.entries(show))
      part.querySelector(`[data-show=${name}]`).textContent = text;
  };
  slider.addEventListener("input", update);
  part.hidden = false;
  update();
}

function startCutoff(part) {
  // Of each label: rows that have it and rows that do not, by step of its probability, and where
  // its own threshold is.
  const labels = JSON.parse(part.dataset.labels);
  const [choice, slider] = [part.querySelector("select"), part.querySelector("input")];
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const ratio = (one, all) => (all ? percent(one / all) : "–");
  const sum = (counts, from) => counts.slice(from).reduce((a, b) => a + b, 0);
  const update = () => {
    const { having, lacking } = labels[Number(choice.value)];
    const from = Number(slider.value);
    const [right, wrong, all] = [sum(having, from), sum(lacking, from), sum(having, 0)];
    const show = { probability: percent(from / (having.length - 1)),
      given: (right + wrong).toLocaleString("en"), precision: ratio(right, right + wrong),
      recall: ratio(right, all), f1: ratio(2 * right, right + wrong + all) };
    for (const [name, text] of Object.entries(show))
      part.querySelector(`[data-show=${name}]`).textContent = text;
  };
  const fitted = () => {
    slider.value = labels[Number(choice.value)].at;
    update();
  };
  labels.forEach(({ name }, number) =>
    choice.append(element("option", { value: String(number) }, name)));
  choice.addEventListener("change", fitted);
  slider.addEventListener("input", update);
  part.hidden = false;
  fitted();
}

// What is wider than its place scrolls with the keyboard, too.
function letKeysScroll() {
  for (const part of document.querySelectorAll(".scroll, figure.wide")) {
    if (part.scrollWidth > part.clientWidth) {
      part.tabIndex = 0;
      part.setAttribute("role", "region");
      part.setAttribute("aria-label", part.matches(".scroll") ? "Table, scrolls sideways" : "Picture, scrolls sideways");
    } else if (part.tabIndex === 0) {
      for (const name of ["tabindex", "role", "aria-label"]) part.removeAttribute(name);
    }
  }
}

document.querySelectorAll("main table").forEach((table) => {
  makeFilterable(table);
  makeSortable(table);
});
document.querySelectorAll(".threshold.rows").forEach(startThreshold);
document.querySelectorAll(".threshold.labels").forEach(startCutoff);
addEventListener("hashchange", openTarget);
addEventListener("resize", letKeysScroll);
document.addEventListener("toggle", letKeysScroll, true);
openTarget();
letKeysScroll();
