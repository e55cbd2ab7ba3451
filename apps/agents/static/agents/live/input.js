// Passes on what the person in control does: mouse, wheel, keyboard, text of input methods, paste and copy.
// All of it arrives at one transparent text field over the picture, since only a field gets input methods and pastes.

const PACE_MS = 33; // between moves, and between turns of the wheel
const LINE_PIXELS = 40; // a wheel that counts lines
const PASTE_AT_ONCE = 40_000; // characters of one message
const PASTE_AT_MOST = 1_000_000;
const BUTTONS = ["left", "middle", "right", "back", "forward"];
const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

export function takeInput(field, send, say) {
  takeMouse(field, send);
  takeWheel(field, send);
  takeKeys(field, send);
  takeText(field, send, say);
}

const within = (number, least, most) => Math.min(most, Math.max(least, number));

function place(field, { clientX, clientY }) {
  const { left, top, width, height } = field.getBoundingClientRect();
  return { x: within((clientX - left) / width, 0, 1), y: within((clientY - top) / height, 0, 1) };
}

function modifiers(event) {
  // AltGr, and Option on a Mac, have done their work once there is a character.
  const written = event.getModifierState?.("AltGraph") || (MAC && event.altKey && event.key?.length === 1);
  const { altKey, ctrlKey, metaKey, shiftKey } = event;
  return (altKey && !written) * 1 + (ctrlKey && !(written && !MAC)) * 2 + metaKey * 4 + shiftKey * 8;
}

// Calls `act` with what has gathered, at most every PACE_MS, and with the last of it.
function paced(act) {
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

function takeMouse(field, send) {
  const moves = paced((message) => send("mouse", message));
  const message = (action, event) => ({
    action,
    ...place(field, event),
    button: action === "move" ? "none" : BUTTONS[event.button] ?? "left",
    buttons: event.buttons & 31,
    clicks: action === "move" ? 0 : within(event.detail, 1, 3),
    modifiers: modifiers(event),
  });
  let pressed = false;

  addEventListener("mousemove", (event) => {
    if (pressed || event.target === field) moves.gather(() => message("move", event));
  });
  field.addEventListener("mousedown", (event) => {
    event.preventDefault(); // no selection, no scrolling by the middle button; and so no focus either
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

function takeWheel(field, send) {
  const turns = paced(({ dx, dy, ...rest }) => {
    send("wheel", { ...rest, dx: within(dx, -10_000, 10_000), dy: within(dy, -10_000, 10_000) });
  });
  const turn = (event, dx, dy) => turns.gather((before) => ({
    ...place(field, event),
    dx: (before?.dx ?? 0) + dx,
    dy: (before?.dy ?? 0) + dy,
    modifiers: modifiers(event),
  }));

  field.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = [1, LINE_PIXELS, field.clientHeight][event.deltaMode];
    turn(event, event.deltaX * unit, event.deltaY * unit);
  }, { passive: false });

  // A tap becomes a click by itself; a finger that moves turns the wheel.
  let last = null;
  field.addEventListener("touchstart", ({ touches }) => { last = touches[0]; }, { passive: true });
  field.addEventListener("touchmove", (event) => {
    const [touch] = event.touches;
    turn(Object.assign(event, { clientX: touch.clientX, clientY: touch.clientY }),
      last.clientX - touch.clientX, last.clientY - touch.clientY);
    last = touch;
  }, { passive: true });
}

// Of a shortcut: what is written on the key or, where that is no Latin letter, its place on an English keyboard.
function letter({ key, code }) {
  return (/^[a-z]$/i.test(key) ? key : code.replace("Key", "")).toLowerCase();
}

function takeKeys(field, send) {
  const held = new Map();

  function strike(down, event) {
    const { key, code, keyCode, location, repeat } = event;
    const stroke = { key: key.slice(0, 32), code: code.slice(0, 32), key_code: keyCode & 255, location: location & 3 };
    if (down) held.set(code, stroke);
    else held.delete(code);
    send("key", { ...stroke, down, repeat, modifiers: modifiers(event) });
  }

  function release() {
    for (const stroke of held.values()) send("key", { ...stroke, down: false, repeat: false, modifiers: 0 });
    held.clear();
  }

  field.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229 || event.key === "Dead") return; // an input method is at work
    const shortcut = (event.ctrlKey || event.metaKey) && !event.altKey ? letter(event) : "";
    if (shortcut === "v") return; // becomes a paste, below
    event.preventDefault();
    if (event.key === "Escape" && event.shiftKey) {
      field.blur();
      return;
    }
    if (shortcut === "c" || shortcut === "x") send("copy"); // before a cut takes it away
    strike(true, event);
  });
  field.addEventListener("keyup", (event) => {
    if (held.has(event.code)) strike(false, event);
    if (event.key === "Meta") release(); // a Mac keeps the others' ends to itself
  });
  field.addEventListener("blur", release); // else a key would stay down for ever
}

function takeText(field, send, say) {
  const stroke = (key, keyCode) => {
    for (const down of [true, false])
      send("key", { key, code: key, key_code: keyCode, location: 0, down, repeat: false, modifiers: 0 });
  };

  field.addEventListener("paste", (event) => {
    event.preventDefault();
    const text = event.clipboardData.getData("text/plain");
    if (text.length > PASTE_AT_MOST) {
      say("That is too much to paste");
      return;
    }
    for (const part of parts(text)) send("text", { text: part });
  });
  field.addEventListener("compositionend", (event) => {
    if (event.data) send("text", { text: event.data });
    field.value = "";
  });
  field.addEventListener("input", (event) => { // what comes without keys: keyboards on screens, dictation, emoji
    if (event.isComposing || event.inputType === "insertCompositionText") return;
    if (event.inputType === "deleteContentBackward") stroke("Backspace", 8);
    else if (event.inputType === "insertLineBreak") stroke("Enter", 13);
    else if (event.data) send("text", { text: event.data });
    field.value = "";
  });
}

function* parts(text) {
  for (let at = 0; at < text.length;) {
    let end = Math.min(text.length, at + PASTE_AT_ONCE);
    if (end < text.length && /[\uD800-\uDBFF]/.test(text[end - 1])) end -= 1; // don't cut a character in half
    yield text.slice(at, end);
    at = end;
  }
}
