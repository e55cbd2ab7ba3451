// What a site can read of its browser, in a page, a frame or a worker. Changes nothing in the browser.

const HINTS = [
  "architecture", "bitness", "formFactors", "fullVersionList", "model", "platformVersion", "uaFullVersion", "wow64",
];

// Exists in every realm.
const realm = async () => {
  const hints = navigator.userAgentData, connection = navigator.connection;
  const options = Intl.DateTimeFormat().resolvedOptions();
  return {
    userAgent: navigator.userAgent,
    platform: navigator.platform,
    language: navigator.language,
    languages: [...navigator.languages],
    hardwareConcurrency: navigator.hardwareConcurrency,
    deviceMemory: navigator.deviceMemory ?? null,
    webdriver: navigator.webdriver ?? false,
    onLine: navigator.onLine,
    connection: connection ? { effectiveType: connection.effectiveType, rtt: connection.rtt } : null,
    userAgentData: hints ? await hints.getHighEntropyValues(HINTS) : null,
    timezone: options.timeZone,
    offsetMinutes: -new Date().getTimezoneOffset(),
    locale: options.locale,
    number: (1234567.891).toLocaleString(),
  };
};

const SOURCE = `const HINTS = ${JSON.stringify(HINTS)}; const realm = ${realm};`;

const hex = buffer => [...new Uint8Array(buffer)].map(byte => byte.toString(16).padStart(2, "0")).join("");
const hash = async data => {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  return hex(await crypto.subtle.digest("SHA-256", bytes)).slice(0, 32);
};
const matching = (feature, values) => values.find(value => matchMedia(`(${feature}: ${value})`).matches) ?? "";

const readNavigator = async () => {
  const permission = async name => (await navigator.permissions.query({ name })).state;
  const names = ["camera", "geolocation", "microphone", "notifications"];
  return {
    vendor: navigator.vendor,
    maxTouchPoints: navigator.maxTouchPoints,
    cookieEnabled: navigator.cookieEnabled,
    pdfViewerEnabled: navigator.pdfViewerEnabled,
    plugins: [...navigator.plugins].map(plugin => plugin.name),
    permissions: Object.fromEntries(await Promise.all(names.map(async name => [name, await permission(name)]))),
    notificationPermission: Notification.permission,
    voices: speechSynthesis.getVoices().length,
    storageQuota: (await navigator.storage.estimate()).quota,
    chrome: typeof window.chrome === "object",
  };
};

const readScreen = () => ({
  width: screen.width, height: screen.height, availWidth: screen.availWidth, availHeight: screen.availHeight,
  availLeft: screen.availLeft, availTop: screen.availTop,
  colorDepth: screen.colorDepth, pixelDepth: screen.pixelDepth, devicePixelRatio,
  outerWidth, outerHeight, innerWidth, innerHeight, screenX, screenY,
  orientation: screen.orientation.type,
  media: {
    pointer: matching("pointer", ["fine", "coarse", "none"]),
    hover: matching("hover", ["hover", "none"]),
    anyPointer: matching("any-pointer", ["fine", "coarse", "none"]),
    anyHover: matching("any-hover", ["hover", "none"]),
    colorGamut: matching("color-gamut", ["rec2020", "p3", "srgb"]),
    size: matchMedia(`(device-width: ${screen.width}px) and (device-height: ${screen.height}px)`).matches,
    resolution: matchMedia(`(resolution: ${devicePixelRatio}dppx)`).matches,
  },
});

// Families of the three systems. A family is present when text in it is as wide as in no generic family.
const FAMILIES = [
  "Arial", "Arial Black", "Calibri", "Cambria", "Cambria Math", "Candara", "Cantarell", "Carlito", "Comic Sans MS",
  "Consolas", "Courier New", "DejaVu Sans", "Georgia", "Helvetica", "Helvetica Neue", "Impact", "Liberation Sans",
  "Lucida Grande", "Menlo", "Monaco", "MS Gothic", "Noto Color Emoji", "Noto Sans", "Segoe UI", "Segoe UI Emoji",
  "Tahoma", "Times New Roman", "Trebuchet MS", "Ubuntu", "Verdana",
];
const readFonts = context => {
  const width = font => { context.font = `72px ${font}`; return context.measureText("mmMwWLliI0O&1@ÄŸ").width; };
  const generics = ["monospace", "sans-serif", "serif"].map(generic => [generic, width(generic)]);
  return FAMILIES.filter(name => generics.some(([generic, own]) => width(`"${name}", ${generic}`) !== own));
};

const readCanvas = async context => {
  const { canvas } = context;
  canvas.width = 280; canvas.height = 60;
  context.fillStyle = "#f60"; context.fillRect(120, 1, 62, 20);
  context.fillStyle = "#069"; context.font = "14px Arial"; context.fillText("Cwm fjord veg balks \u{1F603}", 2, 15);
  context.fillStyle = "rgba(102, 204, 0, 0.7)"; context.font = "17px serif"; context.fillText("ÄŸ ∑ 漢字", 4, 45);
  context.globalCompositeOperation = "multiply";
  for (const [color, x] of [["#f2f", 200], ["#2ff", 225], ["#ff2", 212]]) {
    context.fillStyle = color; context.beginPath(); context.arc(x, 30, 20, 0, 2 * Math.PI); context.fill();
  }
  return { hash: await hash(canvas.toDataURL()) };
};

const SHADERS = [
  ["VERTEX_SHADER", "attribute vec2 at; varying vec2 seen; void main() { seen = at; gl_Position = vec4(at, 0, 1); }"],
  ["FRAGMENT_SHADER", "precision mediump float; varying vec2 seen; void main() { gl_FragColor = vec4(sin(seen * 9.0), 0.5, 1); }"],
];
const readWebgl = async () => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 32;
  const gl = canvas.getContext("webgl");
  if (!gl) return { vendor: null, renderer: null, hash: null };
  const names = gl.getExtension("WEBGL_debug_renderer_info"), program = gl.createProgram();
  for (const [kind, source] of SHADERS) {
    const shader = gl.createShader(gl[kind]);
    gl.shaderSource(shader, source); gl.compileShader(shader); gl.attachShader(program, shader);
  }
  gl.linkProgram(program); gl.useProgram(program);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-0.9, -0.7, 0.8, -0.4, 0, 0.9]), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0); gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
  gl.drawArrays(gl.TRIANGLES, 0, 3);
  const pixels = new Uint8Array(32 * 32 * 4);
  gl.readPixels(0, 0, 32, 32, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  const found = {
    vendor: gl.getParameter(names ? names.UNMASKED_VENDOR_WEBGL : gl.VENDOR),
    renderer: gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER),
    version: gl.getParameter(gl.VERSION),
    maxTextureSize: gl.getParameter(gl.MAX_TEXTURE_SIZE),
    extensions: gl.getSupportedExtensions().length,
    hash: await hash(pixels),
  };
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return found;
};

// A compressed triangle wave, as FingerprintJS reads it.
const readAudio = async () => {
  const context = new OfflineAudioContext(1, 5000, 44100);
  const wave = context.createOscillator(), compressor = context.createDynamicsCompressor();
  wave.type = "triangle"; wave.frequency.value = 10000;
  compressor.threshold.value = -50; compressor.knee.value = 40; compressor.ratio.value = 12;
  compressor.attack.value = 0; compressor.release.value = 0.25;
  wave.connect(compressor); compressor.connect(context.destination); wave.start(0);
  const samples = (await context.startRendering()).getChannelData(0).subarray(4500);
  return { hash: await hash(samples.slice().buffer), sum: samples.reduce((sum, one) => sum + Math.abs(one), 0) };
};

const inFrame = async () => {
  const frame = document.body.appendChild(document.createElement("iframe"));
  frame.srcdoc = `<script>${SOURCE}<\/script>`;
  await new Promise(loaded => { frame.onload = loaded; });
  const found = await frame.contentWindow.eval("realm()");
  frame.remove();
  return found;
};

const inWorker = async () => {
  const url = URL.createObjectURL(new Blob([SOURCE, "realm().then(found => postMessage(found));"]));
  const worker = new Worker(url);
  const found = await new Promise((done, failed) => { worker.onmessage = e => done(e.data); worker.onerror = failed; });
  worker.terminate();
  URL.revokeObjectURL(url);
  return found;
};

// The slow part. It is the same for every browser of one Chromium build and one set of fonts.
const readMachine = async () => {
  const context = () => document.createElement("canvas").getContext("2d");
  const [canvas, webgl, audio] = await Promise.all([readCanvas(context()), readWebgl(), readAudio()]);
  return { canvas, webgl, audio, fonts: readFonts(context()) };
};

const readPage = async () => {
  const [own, page, frame, worker] = await Promise.all([realm(), readNavigator(), inFrame(), inWorker()]);
  return { navigator: { ...own, ...page }, screen: readScreen(), realms: { frame, worker } };
};

// The handshake ends after its first message, so this fails.
const sayHello = () => fetch("https://" + location.host, { mode: "no-cors" }).catch(() => null);
