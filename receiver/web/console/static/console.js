// The console's script: local times, keyboard, theme, live updates. Pages work without it.

const base = document.body.dataset.base;
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// times, in the reader's zone

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });

function ago(seconds) {
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= 2 * length) return relative.format(-Math.round(seconds / length), unit);
  }
  return relative.format(-Math.round(seconds), "second");
}

function localize(root) {
  const now = new Date();
  for (const element of $$("time[datetime]", root)) {
    const at = new Date(element.dateTime);
    const format = element.dataset.form === "minute" ? minute : clock;
    const text = element.dataset.form === "ago" ? ago((now - at) / 1000)
      : at.toDateString() === now.toDateString() ? format.format(at) : `${day.format(at)} ${format.format(at)}`;
    if (element.textContent !== text) element.textContent = text;
    if (!element.title) element.title = `${full.format(at)}\n${element.dateTime}`;
  }
}

function nameColumns(root) {
  for (const column of $$("svg [data-at]", root)) {
    const title = $("title", column);
    title.textContent = `${minute.format(new Date(column.dataset.at))}  ${title.textContent}`;
    delete column.dataset.at;
  }
}

// light and dark: a cookie, so that the server makes the next page in the right colours

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  document.cookie = `theme=${root.dataset.theme}; path=${base}; max-age=31536000; samesite=strict`;
}

// live: regions are replaced by those of the same page, read again

const LATEST = 20000; // a page that takes longer will not come
const live = { paused: false, lost: false, ended: false, scrolled: 0, held: false, timer: 0, reading: false, last: 0 };
const regions = () => $$("[data-live]");
const kept = new Map();

function busy() {
  const selection = document.getSelection();
  const inside = document.activeElement?.closest("[data-live]");
  return live.paused || live.held || document.hidden || Date.now() - live.scrolled < 1500
    || (selection && !selection.isCollapsed) || (inside && document.activeElement.matches("input, select, textarea"))
    || $("dialog[open]") !== null;
}

function showLive() {
  const button = $("#live");
  button.dataset.state = live.ended ? "lost" : live.paused ? "paused" : live.lost ? "lost" : "live";
  $(".label", button).textContent = live.ended ? "log in again" : live.paused ? "paused" : live.lost ? "no connection" : "live";
}

async function refresh() {
  if (live.reading) return;
  if (busy()) return plan(1000);
  live.reading = true;
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" }, redirect: "manual", signal: AbortSignal.timeout(LATEST),
    });
    live.ended = answer.status === 401 || answer.type === "opaqueredirect"; // the session; what was typed stays
    if (!answer.ok) throw new Error(String(answer.status));
    const text = await answer.text();
    if (!busy()) {
      const found = new DOMParser().parseFromString(text, "text/html");
      for (const region of regions()) update(region, $(`[data-live="${region.dataset.live}"]`, found));
    }
    live.lost = false;
  } catch {
    live.lost = true;
  } finally {
    live.reading = false;
    live.last = Date.now();
    showLive();
    plan(live.lost ? 10000 : every());
  }
}

const FOCUSABLE = "a, button, summary, audio, [tabindex]";
const nameOf = (element) => `${element.tagName} ${element.getAttribute("href") ?? element.textContent.trim()}`;
const alike = (region, name) => $$(FOCUSABLE, region).filter((element) => nameOf(element) === name);

function update(region, found) {
  if (!found || kept.get(region.dataset.live) === found.innerHTML) return;
  const known = new Set($$("[data-row]", region).map((row) => row.dataset.row));
  const open = new Set($$("details[open][id]", region).map((details) => details.id));
  const selected = $("[data-row][aria-selected]", region)?.dataset.row;
  const focused = region.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  const nth = focused === null ? -1 : alike(region, focused).indexOf(document.activeElement);
  kept.set(region.dataset.live, found.innerHTML);
  region.replaceChildren(...document.importNode(found, true).childNodes);
  if (found.dataset.every) region.dataset.every = found.dataset.every;
  decorate(region);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  for (const row of $$("[data-row]", region)) {
    if (known.size && !known.has(row.dataset.row)) row.classList.add("fresh");
    if (row.dataset.row === selected) row.setAttribute("aria-selected", "true");
  }
  if (focused !== null) alike(region, focused)[nth]?.focus({ preventScroll: true });
}

function every() {
  return Math.min(5000, ...regions().map((region) => Number(region.dataset.every) || 5000));
}

function plan(milliseconds) {
  clearTimeout(live.timer);
  live.timer = setTimeout(refresh, milliseconds);
}

function startLive() {
  if (!regions().length) return;
  for (const region of regions()) kept.set(region.dataset.live, region.innerHTML);
  $("#live").hidden = false;
  showLive();
  addEventListener("scroll", () => { live.scrolled = Date.now(); }, { passive: true, capture: true });
  addEventListener("pointerdown", () => { live.held = true; });
  for (const type of ["pointerup", "pointercancel", "blur"]) addEventListener(type, () => { live.held = false; });
  document.addEventListener("visibilitychange", () => document.hidden ? clearTimeout(live.timer) : plan(0));
  plan(every());
  if (document.body.dataset.stream === undefined) return;
  const stream = new EventSource(`${base}/stream`);
  const soon = () => plan(Math.max(0, live.last + 1000 - Date.now()));
  stream.onmessage = soon;
  for (const type of ["job.completed", "job.failed", "test"]) stream.addEventListener(type, soon);
  addEventListener("pagehide", () => stream.close());
}

function pause() {
  if (live.ended) return location.reload();
  live.paused = !live.paused;
  showLive();
  if (!live.paused) plan(0);
}

// a form is sent once, however often its button is pressed

function sendOnce(event) {
  if (event.defaultPrevented || event.target.method !== "post") return;
  if (event.target.dataset.sent !== undefined) return event.preventDefault();
  event.target.dataset.sent = "";
}

addEventListener("submit", sendOnce);
addEventListener("pageshow", () => { for (const form of $$("form[data-sent]")) delete form.dataset.sent; });

// copying

function offerCopies(root) {
  if (!navigator.clipboard) return;
  for (const button of $$("[data-copy]", root)) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.title = "Copied";
    });
  }
}

// the waveform: drawn from the decoded audio; a click on it seeks

const COLUMN = 3;

async function drawWaveform(canvas) {
  const audio = $("audio", canvas.parentElement);
  let samples;
  try {
    const answer = await fetch(canvas.dataset.src);
    if (!answer.ok) return;
    const decoded = await new OfflineAudioContext(1, 1, 44100).decodeAudioData(await answer.arrayBuffer());
    samples = decoded.getChannelData(0);
  } catch {
    return; // a format that this browser does not decode: the player says so, too
  }
  canvas.hidden = false;
  const draw = () => {
    const scale = devicePixelRatio || 1;
    const width = canvas.width = canvas.clientWidth * scale;
    const height = canvas.height = canvas.clientHeight * scale;
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const columns = Math.max(1, Math.floor(width / (COLUMN * scale)));
    const length = samples.length / columns;
    const played = audio.duration ? audio.currentTime / audio.duration : 0;
    for (let column = 0; column < columns; column++) {
      let peak = 0;
      const end = Math.min(samples.length, Math.ceil((column + 1) * length));
      for (let index = Math.floor(column * length); index < end; index++) peak = Math.max(peak, Math.abs(samples[index]));
      const tall = Math.max(scale, peak * height);
      pen.fillStyle = style.color;
      pen.globalAlpha = column / columns < played ? 1 : 0.38;
      pen.fillRect(column * COLUMN * scale, (height - tall) / 2, (COLUMN - 1) * scale, tall);
    }
  };
  draw();
  canvas.dataset.drawn = "";
  new ResizeObserver(draw).observe(canvas);
  for (const type of ["timeupdate", "seeked", "ended"]) audio.addEventListener(type, draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  canvas.addEventListener("click", (event) => {
    if (audio.duration) audio.currentTime = audio.duration * event.offsetX / canvas.clientWidth;
  });
}

// what scrolls can be reached by the keyboard

function reachScrolling(root) {
  for (const box of $$(".scroll, pre", root)) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

function decorate(root) {
  localize(root);
  reachScrolling(root);
  nameColumns(root);
  offerCopies(root);
  for (const canvas of $$("canvas[data-draw]", root)) drawWaveform(canvas);
  const audio = $("[data-play] audio");
  if (audio && root.contains(audio)) audio.play().catch(() => {}); // a browser may want a click first
}

// keyboard

let going = 0;

function rows() {
  return $$("[data-row]").filter((row) => row.offsetParent !== null);
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.hasAttribute("aria-selected"));
  const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step))];
  for (const row of all) row.removeAttribute("aria-selected");
  next.setAttribute("aria-selected", "true");
  $("a", next)?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function help() {
  const dialog = $("#help");
  if (dialog.open) dialog.close(); else dialog.showModal();
}

function pressed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.("input, select, textarea, [contenteditable]");
  if (event.key === "Escape" && typing) return event.target.blur();
  if (typing) return;
  if (event.key === "?") return event.preventDefault(), help();
  if ($("dialog[open]")) return;
  if (Date.now() - going < 1500) {
    going = 0;
    const link = $(`[data-go="${CSS.escape(event.key)}"]`);
    if (link) return event.preventDefault(), link.click();
  }
  const keys = {
    "/": () => $("#search")?.focus(), j: () => move(1), k: () => move(-1), g: () => { going = Date.now(); },
    n: () => $("[rel=next]")?.click(), p: () => $("[rel=first]")?.click(), t: switchTheme,
    l: () => { if (!$("#live").hidden) pause(); },
    Enter: () => { if (event.target === document.body) $("[data-row][aria-selected] a")?.click(); else return false; },
    " ": () => { const audio = $("audio"); if (!audio || event.target !== document.body) return false; if (audio.paused) audio.play(); else audio.pause(); },
  };
  if (Object.hasOwn(keys, event.key) && keys[event.key]() !== false) event.preventDefault();
}

startLive();
decorate(document);
$("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
setInterval(() => localize(document), 10000);
addEventListener("resize", () => reachScrolling(document));
for (const [id, action] of [["theme", switchTheme], ["keys", help], ["live", pause]]) {
  const button = $(`#${id}`);
  button.addEventListener("click", action);
  if (id !== "live") button.hidden = false;
}
document.addEventListener("keydown", pressed);
