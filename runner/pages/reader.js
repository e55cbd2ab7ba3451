// Reads a loaded page in a world of its own, where the page's changes to built-ins do not reach. `tree` reads the
// flattened tree; it is null when nothing that was asked for needs it.
(wanted, tree) => {
  const entry = performance.getEntriesByType('navigation')[0];
  const root = document.documentElement;
  const found = {url: location.href, title: document.title.slice(0, 10000), status: entry ? entry.responseStatus : 0,
                 type: document.contentType, blank: !root || !document.body?.hasChildNodes() && !document.title};
  if (entry && entry.decodedBodySize > wanted.maxHtml) return {...found, tooLarge: entry.decodedBodySize};

  // Text, JSON and XML are shown by viewers of Chromium's: what was sent is the content. `isPoor` says that the viewer
  // has only part of that.
  const viewer = document.getElementById('webkit-xml-viewer-source-xml');
  const serialized = node => new XMLSerializer().serializeToString(node);
  if (viewer || root && /[+/]xml$/.test(found.type) && !/xhtml|svg/.test(root.namespaceURI)) {
    const source = viewer ? [...viewer.childNodes].map(serialized).join('') : serialized(document);
    return {...found, title: '', source: source.slice(0, wanted.maxHtml), isPoor: true};
  }
  if (!/^(text\/html|image\/|audio\/|video\/)|xml$/.test(found.type)) {
    const source = document.querySelector('body > pre')?.textContent.slice(0, wanted.maxHtml) ?? '';
    // Some feeds are shown as plain text, and text that doesn't say how it is encoded as if it were Western European.
    const isPoor = /^\s*</.test(source) || document.characterSet !== 'UTF-8' && /[^\0-\x7f]/.test(source);
    return {...found, blank: false, source, isPoor};
  }

  if (wanted.html && root) {
    const doctype = document.doctype ? serialized(document.doctype) + '\n' : '';
    const shadows = [];
    const collect = within => {
      for (const element of within.querySelectorAll('*')) {
        if (element.shadowRoot) {
          shadows.push(element.shadowRoot);
          collect(element.shadowRoot);
        }
      }
    };
    collect(document);
    let html = root.outerHTML;
    if (shadows.length) {
      const [, start, end] = /^([^]*?>)(<\/[^>]*>)$/.exec(root.cloneNode(false).outerHTML);
      html = start + root.getHTML({shadowRoots: shadows}) + end;
    }
    found.html = doctype + html;
    if (found.html.length > wanted.maxHtml) return {...found, html: undefined, tooLarge: found.html.length};
  }
  return tree ? {...found, ...tree(wanted)} : found;
}
