// Shows a running browser: keeps a connection to the gateway, draws what comes, says how things stand.
// All that a page in that browser made up (title, address, selected text) is shown as text, never as HTML.

import { takeInput } from "./input.js";

const ENDED = 4001; // the gateway's close code for a session that is over
const SILENCE_MS = 30_000; // the gateway gives a sign of life every 10 s
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
const pen = canvas.getContext("2d", { alpha: false });

let socket = null;
let tries = 0;
let retry = 0; // timers
let watchdog = 0;
let toasting = 0;

function is(state, news = "", detail = "") {
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
    stayAwake();
    if (typeof data === "string") hear(JSON.parse(data));
    else show(data);
  };
  mine.onclose = ({ code, reason }) => lost(mine, code, reason);
  socket = mine;
  stayAwake();
}

// A connection can die without a word: a laptop that slept, a network that changed.
function stayAwake() {
  clearTimeout(watchdog);
  const mine = socket;
  watchdog = setTimeout(() => lost(mine, 0, ""), SILENCE_MS);
}

function lost(which, code, reason) {
  if (which !== socket || body.dataset.state === "ended") return;
  socket = null;
  which.onclose = which.onmessage = null;
  which.close();
  clearTimeout(watchdog);
  if (code === ENDED) {
    end("");
    return;
  }
  is("reconnecting", "Reconnecting …", code === 1013 || code === 1008 ? reason : "");
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** tries) * (0.75 + Math.random() / 2);
  tries += 1;
  retry = setTimeout(tryAgain, wait);
}

// A refused WebSocket does not say why, so this page is asked whether there is still something to see.
async function tryAgain() {
  clearTimeout(retry);
  let status = 0;
  try {
    ({ status } = await fetch(location.pathname, { method: "HEAD", cache: "no-store" }));
  } catch { /* the network is away: so is the gateway, which connect() will find out */ }
  if (socket !== null || body.dataset.state === "ended") return;
  if (status === 404 || status === 410) end("");
  else connect();
}

function end(reason) {
  clearTimeout(retry);
  clearTimeout(watchdog);
  is("ended", "The session has ended", Object.hasOwn(REASONS, reason) ? REASONS[reason] : "");
  document.title = "Session ended";
  pen.clearRect(0, 0, canvas.width, canvas.height); // what the browser held is gone: so is its picture
}

function hear(message) {
  switch (message.type) {
    case "hello":
      tries = 0;
      is("live");
      describe(message);
      break;
    case "page":
      describe(message);
      break;
    case "clipboard":
      copied(message.text);
      break;
    case "ended":
      end(message.reason);
      break;
  }
}

function describe({ title, url, width, height }) {
  element("title").textContent = title;
  element("url").textContent = element("url").title = url === title ? "" : url;
  document.title = title ? `${title} · Live view` : "Live view";
  if (width > 0 && height > 0) element("screen").style.setProperty("--ratio", width / height);
}

// Frames may come faster than they are decoded: of those that wait only the newest is drawn.
let drawing = false;
let newest = null;

async function show(frame) {
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
      pen.drawImage(picture, 0, 0);
      picture.close();
    } catch { /* half a picture: the next one is on its way */ }
  }
  drawing = false;
}

function say(text) {
  const toast = element("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toasting);
  toasting = setTimeout(() => { toast.hidden = true; }, 2000);
}

async function copied(text) {
  if (!text) return;
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch { // no permission, or no HTTPS
    element("copied-text").value = text;
    element("copied").showModal();
    element("copied-text").select();
  }
}

function send(type, fields = {}) {
  if (socket !== null && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, ...fields }));
}

function hurry() {
  if (body.dataset.state === "reconnecting" && socket === null && !document.hidden) tryAgain();
}

addEventListener("online", hurry);
document.addEventListener("visibilitychange", hurry);
if (body.dataset.mode === "control") takeInput(element("keys"), send, say);
connect();
