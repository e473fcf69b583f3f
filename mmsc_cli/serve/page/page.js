import { $, call, category, element, hasKey, itemPath, json, picture, post, price, say, shown, useKey } from "./ask.js";
import { showJudging } from "./judge.js";

const FLAGS = ["novel", "same_category", "other_category", "variants", "diversify", "in_stock", "fallback"];
const RELATIONS = ["substitute", "complement"];
let asked = 0;
let trainedDistinct = 0;

const link = (id, title) => element("a", title || id, { href: `#${new URLSearchParams({ ...state(), item: id })}` });
function state() {
  const all = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  delete all.q;
  return all;
}

function fillFilters(given) {
  const form = $("filters");
  form.k.value = given.k || 10;
  form.price_within.value = given.price_within || "";
  for (const name of FLAGS) form[name].checked = given[name] === "1";
  form.distinct.value = given.distinct ?? trainedDistinct;
  $("distinct-value").textContent = Number(form.distinct.value).toFixed(2);
}

function filtersOf() {
  const form = $("filters");
  const chosen = { k: form.k.value };
  if (form.price_within.value) chosen.price_within = form.price_within.value;
  for (const name of FLAGS) if (form[name].checked) chosen[name] = "1";
  if (Number(form.distinct.value) !== trainedDistinct) chosen.distinct = form.distinct.value;
  return chosen;
}

function showCard(item, id) {
  const text = element("div");
  text.append(element("h1", item.title || id));
  const facts = [`id ${id}`, price(item.price) && `price ${price(item.price)}`, item.brand, category(item.category)];
  text.append(element("p", facts.filter(Boolean).join(" · "), { class: "soft" }));
  if (item.description) text.append(element("p", item.description));
  $("card").replaceChildren(picture(id, item.image_path), text);
  document.title = shown(`${item.title || id} – mmsc`);
}

function showShelf(relation, answers) {
  const rows = answers.map((answer) => {
    const row = element("li");
    const text = element("div");
    const head = element("p");
    head.append(link(answer.item, answer.title));
    const facts = [price(answer.price), answer.brand, category(answer.category)].filter(Boolean).join(" · ");
    text.append(head, element("p", facts, { class: "soft" }), element("p", answer.summary, { class: "why" }));
    if (answer.source && answer.source !== "model") head.append(" ", element("span", answer.source, { class: "mark" }));
    row.append(picture(answer.item, answer.image_path), text);
    return row;
  });
  $(relation).replaceChildren(...(rows.length ? rows : [element("p", "Nothing passes the filters.", { class: "soft" })]));
}

function table(caption, head, rows) {
  const whole = element("table");
  const names = element("tr");
  for (const name of head) names.append(element("th", name, { scope: "col" }));
  const top = element("thead");
  top.append(names);
  const body = element("tbody");
  for (const cells of rows) {
    const row = element("tr");
    cells.forEach((cell, place) => {
      const kind = place ? "td" : "th";
      const made = element(kind, cell instanceof Node ? null : cell, place ? {} : { scope: "row" });
      if (cell instanceof Node) made.append(cell);
      row.append(made);
    });
    body.append(row);
  }
  whole.append(element("caption", caption), top, body);
  const frame = element("div", null, { class: "scroll", tabindex: "0", role: "region", "aria-label": caption });
  frame.append(whole);
  return frame;
}

function showPairs(pairs) {
  const tables = RELATIONS.map((relation) => {
    const own = pairs.filter((pair) => pair.relation === relation);
    if (!own.length) return element("p", `No known ${relation} pair.`, { class: "soft" });
    const caption = relation === "substitute" ? "Viewed together" : "Bought together";
    const rows = own.map((pair) => [
      link(pair.item, pair.title),
      pair.strength.toFixed(2),
      pair.reliability === null ? "–" : pair.reliability.toFixed(2),
    ]);
    return table(caption, ["item", "strength", "reliability"], rows);
  });
  $("pairs").replaceChildren(...tables);
}

function ruled(rules) {
  const done = Object.entries(rules || {}).filter(([, count]) => count);
  return done.length ? ` Rules of the shop: ${done.map(([name, count]) => `${count} ${name}`).join(", ")}.` : "";
}

async function showItem(id, given) {
  const turn = ++asked;
  fillFilters(given);
  const { item, pairs } = await json(itemPath(id));
  const body = { questions: [{ id }], relation: "both", k: Number(given.k || 10), explain: true };
  if ("image_path" in item) body.columns = "price,brand,category,image_path";
  if (given.price_within) body.price_within = `${given.price_within}%`;
  for (const name of FLAGS) if (given[name] === "1") body[name] = true;
  if (given.distinct !== undefined) body.distinct = Number(given.distinct);
  const { outcomes } = await json("/v1/answers", post(body));
  if (turn !== asked) return;
  if (outcomes[0].problem) throw new Error(outcomes[0].problem.detail);
  showCard(item, id);
  showPairs(pairs);
  for (const relation of RELATIONS)
    showShelf(relation, outcomes[0].answers.filter((answer) => answer.relation === relation));
  $("item").hidden = false;
  say(`${outcomes[0].answers.length} answers.${ruled(outcomes[0].rules)}`);
}

function listed(found) {
  const row = element("li");
  row.append(link(found.item, found.title), element("span", ` ${found.item}`, { class: "soft" }));
  return row;
}

async function showFound(words) {
  const turn = ++asked;
  const { items } = await json(`/v1/search?${new URLSearchParams({ q: words, k: 30 })}`);
  if (turn !== asked) return;
  $("found-items").replaceChildren(...items.map(listed));
  $("found").hidden = !items.length;
  say(items.length ? `${items.length} items found.` : "No item has these words in its title or id.");
}

function showFigures(figures) {
  if (!figures) {
    $("figures").replaceChildren(element("p", "Not evaluated since the last training.", { class: "soft" }));
    return;
  }
  const tables = RELATIONS.filter((relation) => figures.slices[relation]).map((relation) => {
    const rows = Object.entries(figures.slices[relation])
      .filter(([, figure]) => figure.queries)
      .map(([slice, figure]) => {
        const gain = (figures.gains[relation] || {})[slice];
        const relative = gain && typeof gain.relative === "number" ? `${(100 * gain.relative).toFixed(1)} %` : "–";
        return [
          slice.replaceAll("_", ", "),
          figure.queries.toLocaleString("en"),
          figure["ndcg@10"].toFixed(3),
          relative,
          gain ? gain.baseline : "–",
          figure["hit@10"].toFixed(3),
        ];
      });
    return table(
      `Held-out ${relation}s`,
      ["slice", "queries", "NDCG@10", "ahead by", "best baseline", "Hit@10"],
      rows,
    );
  });
  $("figures").replaceChildren(...tables);
}

async function showWorkspace() {
  const about = await json("/version");
  trainedDistinct = about.distinct ?? 0;
  const trained = about.trained ? `, trained ${about.trained.slice(0, 16).replace("T", " ")} UTC` : "";
  $("served").textContent = shown(
    `${about.items.toLocaleString("en")} items${trained}; mmsc ${about.mmsc}; index ${about.index.slice(0, 12)}` +
      (about.rules ? `; rules of the shop: ${about.rules}.` : "."),
  );
  $("report").hidden = !about.report;
  $("examples").replaceChildren(...about.examples.map(listed));
  showFigures(about.figures);
  const warnings = about.data.warnings.map((text) => element("li", text, { class: "warning" }));
  const list = element("ul");
  list.append(...warnings);
  const rows = Object.entries(about.data.counts).map(([name, count]) => [name.replaceAll("_", " "), count.toLocaleString("en")]);
  const checks = [element("h3", "Data checks"), warnings.length ? list : element("p", "No doubts about the data.")];
  if (rows.length) {
    const more = element("details");
    more.append(element("summary", "Counts"), table("What prepare counted", ["count", "number"], rows));
    checks.push(more);
  }
  $("checks").replaceChildren(...checks);
}

async function route() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  for (const part of ["home", "found", "item", "judge"]) $(part).hidden = true;
  say("");
  document.title = "mmsc";
  try {
    if (given.q) {
      $("q").value = given.q;
      await showFound(given.q);
    } else if (given.item) await showItem(given.item, given);
    else if ("judge" in given) await showJudging();
    else $("home").hidden = false;
  } catch (error) {
    say(error.message, true);
  }
}

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = new URLSearchParams({ q: $("q").value });
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("input", () => {
  $("distinct-value").textContent = Number($("distinct").value).toFixed(2);
});
$("filters").addEventListener("change", () => {
  const { item } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  history.replaceState(null, "", `#${new URLSearchParams({ item, ...filtersOf() })}`);
  showItem(item, Object.fromEntries(new URLSearchParams(location.hash.slice(1)))).catch((error) => say(error.message, true));
});
$("report").addEventListener("click", async (event) => {
  if (!hasKey()) return; // A link sends no key: the report is fetched with it, and saved.
  event.preventDefault();
  try {
    const saved = element("a", null, { download: "report.html" });
    saved.href = URL.createObjectURL(await (await call("/report")).blob());
    saved.click();
  } catch (error) {
    say(error.message, true);
  }
});
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("token").value);
  $("key").hidden = true;
  start();
});

$("fold").open = matchMedia("(min-width: 45rem)").matches;

async function start() {
  try {
    await showWorkspace();
  } catch (error) {
    say(error.message, true);
    return;
  }
  await route();
}

addEventListener("hashchange", () => {
  if (location.hash !== "#main") route();
});
start();
