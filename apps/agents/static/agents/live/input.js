// Forwards input to the browser: mouse, wheel, keyboard, input methods, paste and copy.
// A transparent text field over the picture gets all events, because only a text field gets input methods and pastes.

const PACE_MS = 33; // between two mouse moves, and between two wheel events
const LINE_PIXELS = 40; // per line, for a wheel that counts lines
const PASTE_AT_ONCE = 40_000; // characters in one message
const PASTE_AT_MOST = 1_000_000;
const BUTTONS = ["left", "middle", "right", "back", "forward"];
const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

export function forwardInput(field, send, showToast) {
  forwardMouse(field, send);
  forwardWheel(field, send);
  forwardKeys(field, send);
  forwardText(field, send, showToast);
}

const clamp = (number, least, most) => Math.min(most, Math.max(least, number));

function position(field, { clientX, clientY }) {
  const { left, top, width, height } = field.getBoundingClientRect();
  return { x: clamp((clientX - left) / width, 0, 1), y: clamp((clientY - top) / height, 0, 1) };
}

function modifiers(event) {
  // AltGr, and Option on a Mac, only select the character, so they are not sent as modifiers.
  const written = event.getModifierState?.("AltGraph") || (MAC && event.altKey && event.key?.length === 1);
  const { altKey, ctrlKey, metaKey, shiftKey } = event;
  return (altKey && !written) * 1 + (ctrlKey && !(written && !MAC)) * 2 + metaKey * 4 + shiftKey * 8;
}

// Calls `act` with the merged events at most every PACE_MS, and always with the last event.
function throttle(act) {
  let timer = 0;
  let gathered = null;
  const go = () => {
    timer = 0;
    if (gathered === null) return;
    const now = gathered;
    gathered = null;
    timer = setTimeout(go, PACE_MS);
    act(now);
  };
  return {
    gather(merge) { gathered = merge(gathered); if (!timer) go(); },
    flush() { clearTimeout(timer); go(); },
  };
}

function forwardMouse(field, send) {
  const moves = throttle((message) => send("mouse", message));
  const message = (action, event) => ({
    action,
    ...position(field, event),
    button: action === "move" ? "none" : BUTTONS[event.button] ?? "left",
    buttons: event.buttons & 31,
    clicks: action === "move" ? 0 : clamp(event.detail, 1, 3),
    modifiers: modifiers(event),
  });
  let pressed = false;

  addEventListener("mousemove", (event) => {
    if (pressed || event.target === field) moves.gather(() => message("move", event));
  });
  field.addEventListener("mousedown", (event) => {
    event.preventDefault(); // prevents selection and middle-button scrolling, but also focus
    field.focus({ preventScroll: true });
    pressed = true;
    moves.flush();
    send("mouse", message("down", event));
  });
  addEventListener("mouseup", (event) => {
    if (!pressed) return;
    pressed = event.buttons !== 0;
    moves.flush();
    send("mouse", message("up", event));
  });
  for (const kind of ["contextmenu", "dragstart"]) field.addEventListener(kind, (event) => event.preventDefault());
}

function forwardWheel(field, send) {
  const turns = throttle(({ dx, dy, ...rest }) => {
    send("wheel", { ...rest, dx: clamp(dx, -10_000, 10_000), dy: clamp(dy, -10_000, 10_000) });
  });
  const turn = (event, dx, dy) => turns.gather((before) => ({
    ...position(field, event),
    dx: (before?.dx ?? 0) + dx,
    dy: (before?.dy ?? 0) + dy,
    modifiers: modifiers(event),
  }));

  field.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = [1, LINE_PIXELS, field.clientHeight][event.deltaMode];
    turn(event, event.deltaX * unit, event.deltaY * unit);
  }, { passive: false });

  // The browser turns a tap into a click. A moving finger becomes wheel events.
  let last = null;
  field.addEventListener("touchstart", ({ touches }) => { last = touches[0]; }, { passive: true });
  field.addEventListener("touchmove", (event) => {
    const [touch] = event.touches;
    turn(Object.assign(event, { clientX: touch.clientX, clientY: touch.clientY }),
      last.clientX - touch.clientX, last.clientY - touch.clientY);
    last = touch;
  }, { passive: true });
}

// The letter of a shortcut: the character of the key or, if that is not Latin, the position on an English keyboard.
function shortcutLetter({ key, code }) {
  return (/^[a-z]$/i.test(key) ? key : code.replace("Key", "")).toLowerCase();
}

function forwardKeys(field, send) {
  const held = new Map();

  function sendKey(down, event) {
    const { key, code, keyCode, location, repeat } = event;
    const stroke = { key: key.slice(0, 32), code: code.slice(0, 32), key_code: keyCode & 255, location: location & 3 };
    if (down) held.set(code, stroke);
    else held.delete(code);
    send("key", { ...stroke, down, repeat, modifiers: modifiers(event) });
  }

  function releaseKeys() {
    for (const stroke of held.values()) send("key", { ...stroke, down: false, repeat: false, modifiers: 0 });
    held.clear();
  }

  field.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229 || event.key === "Dead") return; // an input method handles the key
    const shortcut = (event.ctrlKey || event.metaKey) && !event.altKey ? shortcutLetter(event) : "";
    if (shortcut === "v") return; // causes a paste event, handled below
    event.preventDefault();
    if (event.key === "Escape" && event.shiftKey) {
      field.blur();
      return;
    }
    if (shortcut === "c" || shortcut === "x") send("copy"); // before a cut deletes the selection
    sendKey(true, event);
  });
  field.addEventListener("keyup", (event) => {
    if (held.has(event.code)) sendKey(false, event);
    if (event.key === "Meta") releaseKeys(); // macOS sends no keyup for keys held together with Meta
  });
  field.addEventListener("blur", releaseKeys); // or a held key would stay down
}

function forwardText(field, send, showToast) {
  const stroke = (key, keyCode) => {
    for (const down of [true, false])
      send("key", { key, code: key, key_code: keyCode, location: 0, down, repeat: false, modifiers: 0 });
  };

  field.addEventListener("paste", (event) => {
    event.preventDefault();
    const text = event.clipboardData.getData("text/plain");
    if (text.length > PASTE_AT_MOST) {
      showToast("The text is too long to paste");
      return;
    }
    for (const part of chunks(text)) send("text", { text: part });
  });
  field.addEventListener("compositionend", (event) => {
    if (event.data) send("text", { text: event.data });
    field.value = "";
  });
  field.addEventListener("input", (event) => { // input without key events: on-screen keyboards, dictation, emoji
    if (event.isComposing || event.inputType === "insertCompositionText") return;
    if (event.inputType === "deleteContentBackward") stroke("Backspace", 8);
    else if (event.inputType === "insertLineBreak") stroke("Enter", 13);
    else if (event.data) send("text", { text: event.data });
    field.value = "";
  });
}

function* chunks(text) {
  for (let at = 0; at < text.length;) {
    let end = Math.min(text.length, at + PASTE_AT_ONCE);
    if (end < text.length && /[\uD800-\uDBFF]/.test(text[end - 1])) end -= 1; // keep surrogate pairs together
    yield text.slice(at, end);
    at = end;
  }
}
