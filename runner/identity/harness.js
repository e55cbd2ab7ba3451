// The reference pages of the detection harness. `measure.js` comes before it; `reading` is done with what a page read.

const AT_START = { outerWidth, outerHeight, innerWidth, innerHeight };

// Names that drivers of browsers leave in a page.
const DRIVER_NAMES = /^(cdc_|\$cdc_|__playwright|__pw_|__puppeteer|__webdriver|__selenium|_phantom|callPhantom|domAutomation)/;
const ownNames = object => Object.getOwnPropertyNames(object);
const isNative = (prototype, name) => {
  const getter = Object.getOwnPropertyDescriptor(prototype, name)?.get;
  return getter !== undefined && Function.prototype.toString.call(getter) === `function get ${name}() { [native code] }`;
};

// A page can see that a debugger serializes what it logs: a client that sent Runtime.enable.
const isSerialized = () => {
  let read = false;
  const error = new Error();
  Object.defineProperty(error, "stack", { get: () => { read = true; return ""; } });
  console.debug(error);
  return read;
};

const NAVIGATOR = ["userAgent", "platform", "languages", "language", "hardwareConcurrency", "deviceMemory", "webdriver",
  "plugins", "userAgentData"];
const readAutomation = async () => ({
  atStart: AT_START,
  driverNames: [...ownNames(window), ...ownNames(document)].filter(name => DRIVER_NAMES.test(name)),
  changedProperties: [
    ...ownNames(navigator).map(name => `navigator.${name}`),
    ...NAVIGATOR.filter(name => !isNative(Navigator.prototype, name)),
    ...["width", "height", "availHeight", "colorDepth"].filter(name => !isNative(Screen.prototype, name)),
  ],
  serialized: isSerialized(),
});

const answerOf = (port, send) => new Promise((done, failed) => {
  const timer = setTimeout(failed, 8000, new Error("a realm did not answer"));
  port.onmessage = event => { clearTimeout(timer); done(event.data); };
  send?.();
});
const messageFrom = open => answerOf({ set onmessage(take) {
  addEventListener("message", event => { if (event.data?.realm) take({ data: event.data.realm }); }, { once: true });
} }, open);

const inCrossSiteFrame = async () => {
  const frame = document.createElement("iframe");
  frame.src = "http://browsa-frame.localhost/realm";
  const found = await messageFrom(() => document.body.append(frame));
  frame.remove();
  return found;
};
const inPopup = async () => {
  let popup;
  const found = await messageFrom(() => { popup = window.open("/realm"); });
  popup?.close();
  return found;
};
const inSharedWorker = async () => answerOf(new SharedWorker("/shared.js").port);
const inServiceWorker = async () => {
  const registration = await navigator.serviceWorker.register("/service.js");
  const { port1, port2 } = new MessageChannel();
  const worker = registration.installing ?? registration.waiting ?? registration.active;
  const found = await answerOf(port1, () => worker.postMessage(null, [port2]));
  await registration.unregister();
  return found;
};

const readRealms = async () => {
  const realms = { frame: await inFrame(), worker: await inWorker() };
  // One after the other: each of the first two takes the next message of this window.
  realms.cross_site_frame = await inCrossSiteFrame();
  realms.popup = await inPopup();
  realms.shared_worker = await inSharedWorker();
  realms.service_worker = await inServiceWorker();
  return realms;
};

// Not before a lease: the browser would keep a salt for the origin that asked.
const readMediaDevices = async () => (await navigator.mediaDevices.enumerateDevices()).map(device => device.kind);

const READERS = {
  automation: async () => ({ ...await readAutomation(), navigator: {
    ...await realm(), ...await readNavigator(), mediaDevices: await readMediaDevices(),
  } }),
  coherence: async () => ({ realms: await readRealms() }),
  place: async () => ({ screen: readScreen() }),
  drawing: async () => ({ machine: await readMachine(), again: await readMachine() }),
  network: async () => {
    await Promise.all([sayHello(), fetch(`https://${location.host}:8443/`, { mode: "no-cors" }).catch(() => null)]);
    return {};
  },
};

const reading = (async () => {
  const found = await READERS[location.pathname.slice(1)]();
  return { ...found, server: await (await fetch("/seen")).json() };
})();
