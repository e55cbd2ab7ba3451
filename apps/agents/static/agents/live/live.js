// Shows a running browser: keeps a connection to the gateway, draws its frames, and shows the state.
// Text from pages in that browser (title, URL, selected text) is untrusted: it is shown as text, never as HTML.

import { forwardInput } from "./input.js";

const ENDED = 4001; // the gateway's close code for a session that is over
const SILENCE_MS = 30_000; // the gateway sends a message at least every 10 s
const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 10_000;
const REASONS = {
  deleted: "It was ended by its owner.",
  expired: "Its time was up.",
  closed: "The browser was closed.",
  crashed: "The browser crashed.",
  shutdown: "The service was stopped.",
};
const STATES = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", ended: "Ended" };

const { body } = document;
const element = (id) => document.getElementById(id);
const canvas = element("canvas");
const context2d = canvas.getContext("2d", { alpha: false });

let socket = null;
let tries = 0;
let retry = 0; // timers
let watchdog = 0;
let toasting = 0;

function setState(state, news = "", detail = "") {
  body.dataset.state = state;
  element("state").textContent = STATES[state];
  element("news").textContent = news;
  element("detail").textContent = detail;
}

function connect() {
  clearTimeout(retry);
  const mine = new WebSocket(body.dataset.socket);
  mine.binaryType = "blob";
  mine.onmessage = ({ data }) => {
    resetWatchdog();
    if (typeof data === "string") onMessage(JSON.parse(data));
    else drawFrame(data);
  };
  mine.onclose = ({ code, reason }) => onLost(mine, code, reason);
  socket = mine;
  resetWatchdog();
}

// A connection can break without a close event, for example when a laptop sleeps or the network changes.
function resetWatchdog() {
  clearTimeout(watchdog);
  const mine = socket;
  watchdog = setTimeout(() => onLost(mine, 0, ""), SILENCE_MS);
}

function onLost(which, code, reason) {
  if (which !== socket || body.dataset.state === "ended") return;
  socket = null;
  which.onclose = which.onmessage = null;
  which.close();
  clearTimeout(watchdog);
  if (code === ENDED) {
    end("");
    return;
  }
  setState("reconnecting", "Reconnecting …", code === 1013 || code === 1008 ? reason : "");
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** tries) * (0.75 + Math.random() / 2);
  tries += 1;
  retry = setTimeout(reconnect, wait);
}

// The browser does not show why a WebSocket was refused, so ask the API whether the session has ended.
async function reconnect() {
  clearTimeout(retry);
  let status = 0;
  try {
    ({ status } = await fetch(location.pathname, { method: "HEAD", cache: "no-store" }));
  } catch { /* no network: connect() fails too, and retries */ }
  if (socket !== null || body.dataset.state === "ended") return;
  if (status === 404 || status === 410) end("");
  else connect();
}

function end(reason) {
  clearTimeout(retry);
  clearTimeout(watchdog);
  setState("ended", "The session has ended", Object.hasOwn(REASONS, reason) ? REASONS[reason] : "");
  document.title = "Session ended";
  context2d.clearRect(0, 0, canvas.width, canvas.height); // the data of the session is deleted, so remove its last frame
}

function onMessage(message) {
  switch (message.type) {
    case "hello":
      tries = 0;
      setState("live");
      showPageDetails(message);
      break;
    case "page":
      showPageDetails(message);
      break;
    case "clipboard":
      copyToClipboard(message.text);
      break;
    case "ended":
      end(message.reason);
      break;
  }
}

function showPageDetails({ title, url, width, height }) {
  element("title").textContent = title;
  element("url").textContent = element("url").title = url === title ? "" : url;
  document.title = title ? `${title} · Live view` : "Live view";
  if (width > 0 && height > 0) element("screen").style.setProperty("--ratio", width / height);
}

// Frames may arrive faster than they are decoded. Only the newest waiting frame is drawn.
let drawing = false;
let newest = null;

async function drawFrame(frame) {
  newest = frame;
  if (drawing) return;
  drawing = true;
  while (newest !== null) {
    const next = newest;
    newest = null;
    try {
      const picture = await createImageBitmap(next);
      if (body.dataset.state === "ended") return;
      if (canvas.width !== picture.width || canvas.height !== picture.height) {
        canvas.width = picture.width;
        canvas.height = picture.height;
      }
      context2d.drawImage(picture, 0, 0);
      picture.close();
    } catch { /* a damaged frame: draw the next one */ }
  }
  drawing = false;
}

function showToast(text) {
  const toast = element("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toasting);
  toasting = setTimeout(() => { toast.hidden = true; }, 2000);
}

async function copyToClipboard(text) {
  if (!text) return;
  try {
    await navigator.clipboard.writeText(text);
    showToast("Copied");
  } catch { // no permission, or no HTTPS
    element("copied-text").value = text;
    element("copied").showModal();
    element("copied-text").select();
  }
}

function send(type, fields = {}) {
  if (socket !== null && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, ...fields }));
}

function reconnectIfVisible() {
  if (body.dataset.state === "reconnecting" && socket === null && !document.hidden) reconnect();
}

addEventListener("online", reconnectIfVisible);
document.addEventListener("visibilitychange", reconnectIfVisible);
if (body.dataset.mode === "control") forwardInput(element("keys"), send, showToast);
connect();
