// The page asks the server it came from, and no other. All text is set as text, never as markup.
export const $ = (id) => document.getElementById(id);
let token = sessionStorage.getItem("mmsc-key") || "";

export const hasKey = () => token !== "";
export function useKey(key) {
  token = key;
  sessionStorage.setItem("mmsc-key", key);
}

// Marks without width and of direction, as in mmsc_cli/runtime/visible.py: two texts that look alike may differ in them.
const HIDDEN =
  /[\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}-\u{180f}\u{200b}\u{200e}\u{200f}\u{202a}-\u{202e}\u{2060}-\u{206f}\u{3164}\u{fe00}-\u{fe0d}\u{feff}\u{ffa0}\u{fff0}-\u{fffb}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]|(?<![\u{600}-\u{109f}\u{1780}-\u{18af}\u{1a20}-\u{1aaf}\u{1b00}-\u{1cff}\u{2190}-\u{2bff}\u{a800}-\u{abff}\u{fb50}-\u{fdff}\u{fe0f}\u{fe70}-\u{fefe}\u{10a00}-\u{11fff}\u{1f000}-\u{1faff}])[\u{200c}\u{200d}]|[\u{200c}\u{200d}](?![\u{600}-\u{109f}\u{1780}-\u{18af}\u{1a20}-\u{1aaf}\u{1b00}-\u{1cff}\u{2190}-\u{2bff}\u{a800}-\u{abff}\u{fb50}-\u{fdff}\u{fe0f}\u{fe70}-\u{fefe}\u{10a00}-\u{11fff}\u{1f000}-\u{1faff}])|(?<![#*0-9\u{a9}\u{ae}\u{203c}\u{2049}\u{2122}\u{2139}\u{2190}-\u{2bff}\u{3030}\u{303d}\u{3297}\u{3299}\u{1f000}-\u{1faff}])[\u{fe0e}\u{fe0f}]|(?<=[#*0-9])[\u{fe0e}\u{fe0f}](?!\u{20e3})/gu;
const escaped = (mark) => {
  const number = mark.codePointAt(0).toString(16);
  return number.length > 4 ? `\\U${number.padStart(8, "0")}` : `\\u${number.padStart(4, "0")}`;
};
export const shown = (text) => String(text).replace(HIDDEN, escaped);

export function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = shown(text);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export function say(text, problem = false) {
  $("status").textContent = shown(text);
  $("status").classList.toggle("problem", problem);
}

export async function call(path, options = {}) {
  const headers = { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) {
    $("key").hidden = false;
    $("token").focus();
    throw new Error("This server needs a key.");
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    const nearest = problem.nearest ? ` Nearest ids: ${problem.nearest.join(", ")}.` : "";
    throw new Error(`${problem.detail || response.statusText}.${nearest}`);
  }
  return response;
}

export const json = async (path, options) => (await call(path, options)).json();
export const itemPath = (id) => `/v1/items/${encodeURIComponent(id)}`;
export const post = (body) => ({ method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });

export function picture(id, exists) {
  if (!exists) return element("div", "no picture", { class: "picture none" });
  const image = element("img", null, { class: "picture", alt: "", loading: "lazy" });
  if (!token) image.src = `${itemPath(id)}/picture`;
  else
    call(`${itemPath(id)}/picture`)
      .then((response) => response.blob())
      .then((blob) => (image.src = URL.createObjectURL(blob)))
      .catch(() => image.replaceWith(element("div", "no picture", { class: "picture none" })));
  return image;
}

export const price = (value) => (typeof value === "number" ? value.toFixed(2) : null);
export const category = (value) => (Array.isArray(value) && value.length ? value.join(" › ") : null);
