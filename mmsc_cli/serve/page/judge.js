// Judging by hand: two items side by side, without what mmsc thinks of them, and a key for each answer.
import { $, category, element, json, picture, post, price, say } from "./ask.js";

const KEYS = { s: "substitute", c: "complement", n: "neither", x: "" };
const AT_A_TIME = 20;
const remembered = "mmsc-who";
let pairs = [];
let place = 0;
let done = 0;
let seed = 1;
let isBusy = false;

const who = () => $("who").value.trim() || "page";
const isShown = () => !$("judge").hidden && !$("pair").hidden;

function card(letter, item) {
  const text = element("div");
  text.append(element("h2", item.title || item.item_id));
  const facts = [price(item.price), item.brand, category(item.category)].filter(Boolean).join(" · ");
  text.append(element("p", facts, { class: "soft" }), element("p", item.description));
  const whole = element("article", null, { class: "side", "aria-label": `Item ${letter}` });
  whole.append(picture(item.item_id, item.image_path), text);
  return whole;
}

function show(before = "") {
  const pair = pairs[place];
  $("pair").hidden = $("choices").hidden = !pair;
  $("back").disabled = place === 0;
  $("judged").textContent = `${done.toLocaleString("en")} pairs judged by this name.`;
  if (!pair) return say(`${before}There is no pair left to judge.`);
  $("pair").replaceChildren(card("A", pair.a), card("B", pair.b));
  say(`${before}Pair ${place + 1} of ${pairs.length}.`);
}

async function draw(before) {
  const given = await json(`/v1/judge?${new URLSearchParams({ who: who(), n: AT_A_TIME, seed })}`);
  $("refused").hidden = !given.refused;
  $("refused").textContent = given.refused ? `Nobody can judge here: ${given.refused}.` : "";
  $("judging").hidden = Boolean(given.refused);
  [pairs, place, done] = [given.pairs, 0, given.judged];
  if (given.refused) {
    pairs = [];
    return say("");
  }
  show(before || "");
}

// One thing at a time: what is pressed meanwhile could be meant for another pair, or another name.
async function alone(task) {
  if (isBusy) return;
  isBusy = true;
  try {
    await task();
  } catch (error) {
    say(error.message, true);
  } finally {
    isBusy = false;
  }
}

async function answer(label) {
  const pair = pairs[place];
  if (label) {
    const kept = { a: pair.a.item_id, b: pair.b.item_id, label, who: who(), source: pair.source };
    await json("/v1/judgements", post(kept));
    if (!pair.label) done += 1;
    pair.label = label;
  }
  const before = label ? `Kept: ${label}. ` : "Skipped. ";
  place += 1;
  if (place < pairs.length) return show(before);
  seed += 1;
  await draw(before);
}

export async function showJudging() {
  $("who").value ||= localStorage.getItem(remembered) || "";
  $("judge").hidden = false;
  document.title = "Judge pairs – mmsc";
  await alone(draw);
}

for (const button of $("choices").querySelectorAll("button[data-label]"))
  button.addEventListener("click", () => alone(() => answer(button.dataset.label)));
$("back").addEventListener("click", () =>
  alone(() => {
    place -= 1;
    show("One back. ");
  }),
);
$("judging-as").addEventListener("submit", (event) => event.preventDefault());
$("who").addEventListener("change", () => {
  localStorage.setItem(remembered, $("who").value.trim());
  alone(draw);
});
addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input:not([type=checkbox]), textarea, select");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || event.repeat || !isShown() || !$("keys").checked) return;
  const label = KEYS[event.key.toLowerCase()];
  if (label === undefined) return;
  event.preventDefault();
  alone(() => answer(label));
});
