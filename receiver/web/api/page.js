"use strict";
// Sends requests from the documentation. The token is read from its field for each request; it is stored nowhere, and is
// in no URL.

const MAX_CHARACTERS = 100000;
const controllers = new WeakMap(); // by form: a request that is still running is aborted for the next one

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}

function requestOf(form, signal) {
  let path = form.dataset.path;
  let body;
  const query = new URLSearchParams();
  const headers = new Headers();
  for (const field of form.querySelectorAll("[data-in]")) {
    const { in: place, name } = field.dataset;
    if (field.value === "") continue;
    if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(field.value));
    if (place === "query") query.set(name, field.value);
    if (place === "header") headers.set(name, field.value);
    if (place === "body") body = field.value;
  }
  const token = document.getElementById("token")?.value.trim();
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const question = query.toString() === "" ? "" : `?${query}`;
  // Relative to this page, whatever prefix it is served under.
  return new Request(`.${path}${question}`, {
    method: form.dataset.method, headers, body, signal, credentials: "omit", cache: "no-store",
  });
}

async function send(form) {
  const shown = form.querySelector("pre");
  controllers.get(form)?.abort();
  const controller = new AbortController();
  controllers.set(form, controller);
  shown.hidden = false;
  shown.ariaBusy = "true";
  shown.textContent = "…";
  try {
    const answer = await fetch(requestOf(form, controller.signal));
    const head = [`${answer.status} ${answer.statusText}`, ...[...answer.headers].map((line) => line.join(": "))];
    shown.textContent = `${head.join("\n")}\n\n`;
    await showBody(answer, shown);
  } catch (error) {
    if (controllers.get(form) === controller) shown.textContent += `\n${error}`;
  }
  if (controllers.get(form) === controller) shown.ariaBusy = "false";
}

async function showBody(answer, shown) {
  const kind = answer.headers.get("Content-Type") ?? "";
  if (kind.startsWith("audio/")) {
    shown.textContent += `${(await answer.arrayBuffer()).byteLength} bytes`;
    return;
  }
  const head = shown.textContent;
  let text = "";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    text += value;
    if (text.length > MAX_CHARACTERS) {
      shown.textContent = `${head}${text.slice(0, MAX_CHARACTERS)}\n…`;
      await reader.cancel();
      return;
    }
    shown.textContent = head + text;
  }
  if (kind.includes("json")) shown.textContent = head + JSON.stringify(JSON.parse(text), null, 2);
}
