// Reads text, links and plain HTML from the flattened tree: shadow roots and slots as they are laid out, frames where
// they stand. What style sheets do for a moment (visibility, opacity, content-visibility) does not count; `display:
// none` does. A frame that this world can't enter leaves its path as a mark, and the runner reads it in its own world.
(wanted) => {
  const XHTML = 'http://www.w3.org/1999/xhtml';
  const MAX_DEPTH = 1000;
  const REVEAL_CHARS = 200;  // a hidden part shorter than this never outweighs what is shown
  const scripting = !matchMedia('(scripting: none)').matches;
  const SOURCE = new Set(['script', 'style', 'template', 'head', 'title', 'meta', 'link', 'base', 'noembed', 'noframes',
    'datalist', 'textarea', 'audio', 'video', 'canvas', 'desc', 'metadata', 'defs', ...scripting ? ['noscript'] : []]);
  const FRAMES = new Set(['iframe', 'frame', 'object']);
  const KEPT = new Set(('a abbr b strong i em code kbd samp var del s ins u mark sub sup small q cite blockquote br hr p '
    + 'div section article header footer main nav aside h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table thead tbody tfoot tr '
    + 'th td caption figure figcaption details summary label button fieldset legend form time address').split(' '));
  const KEPT_ATTRIBUTES = {a: ['title'], ol: ['start'], li: ['value'], td: ['colspan', 'rowspan'],
    th: ['colspan', 'rowspan'], abbr: ['title'], blockquote: ['cite']};

  const styles = new Map();
  const styleOf = element => {
    let style = styles.get(element);
    if (!style) {
      const computed = element.ownerDocument.defaultView?.getComputedStyle(element);
      style = {display: computed?.display || 'inline', spaces: computed?.whiteSpaceCollapse || 'collapse'};
      styles.set(element, style);
    }
    return style;
  };
  const isBlock = display => !/^(inline|contents|ruby|table-cell|table-column)/.test(display);

  const eachChild = (element, visit) => {
    const assigned = element.localName === 'slot' && element.assignedNodes ? element.assignedNodes() : [];
    if (assigned.length) return assigned.forEach(visit);
    for (let child = (element.shadowRoot || element).firstChild; child; child = child.nextSibling) visit(child);
  };
  const documentOf = frame => {
    try {
      return frame.contentDocument;
    } catch {
      return null;
    }
  };
  const pathOf = window => {
    const path = [];
    for (let at = window; at !== at.parent; at = at.parent) {
      let index = 0;
      while (index < at.parent.length && at.parent[index] !== at) index++;
      path.unshift(index);
    }
    return path;
  };

  // Hidden: always by its markup; by `display: none` unless so little is shown that the page isn't there yet.
  const revealed = new Set();
  let hidden = [], shown = 0;  // what a walk has met: elements, and characters
  const isRoot = element => element === element.ownerDocument.documentElement || element === element.ownerDocument.body;
  const isOut = element => SOURCE.has(element.localName)
    || element.hasAttribute('hidden') && element.getAttribute('hidden') !== 'until-found' && !isRoot(element)
    || element.localName === 'dialog' && !element.open;
  const isHidden = element => {
    if (styleOf(element).display !== 'none' || isRoot(element) || revealed.has(element)) return false;
    hidden.push(element);
    return true;
  };
  const sizeOf = (node, depth) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data.trim().length;
    if (node.nodeType !== Node.ELEMENT_NODE || depth > MAX_DEPTH || isOut(node)) return 0;
    if (depth && styleOf(node).display === 'none') return 0;
    let size = 0;
    eachChild(node, child => { size += sizeOf(child, depth + 1); });
    return size;
  };
  // What `read` finds; again, if it has met hidden parts that are the page itself.
  const revealing = read => {
    hidden = [];
    shown = 0;
    const found = read();
    for (const element of hidden) {
      const size = sizeOf(element, 0);
      if (size && (shown === 0 || size >= REVEAL_CHARS && size > 2 * shown)) revealed.add(element);
    }
    return hidden.some(element => revealed.has(element)) ? read() : found;
  };

  // Gives what a sink collects: strings, and {frame: path} between them.
  const parts = () => {
    const found = [];
    return {
      found,
      size: 0,
      add(text) { if (text) { found.push(text); this.size += text.length; } },
      frame(path) { found.push({frame: path}); },
    };
  };
  // The document of a frame, or a mark when it belongs to another world.
  const enter = (frame, into, walk) => {
    const inner = documentOf(frame);
    if (inner) {
      if (inner.documentElement) walk(inner.documentElement);
    } else if (frame.contentWindow) {
      into.frame(pathOf(frame.contentWindow));
    } else {
      return false;
    }
    return true;
  };

  const text = root => {
    const out = parts();
    // Pieces and their last character, as to look at the end of a string that grows would cost its length each time.
    let pieces = [], size = 0, last = '', breaks = 0, space = false;
    const push = piece => {
      pieces.push(piece);
      size += piece.length;
      last = piece[piece.length - 1];
    };
    const flush = () => {
      out.add(pieces.join(''));
      pieces = [];
      last = '';
      breaks = 0;
      space = false;
    };
    const write = words => {
      if (breaks) push('\n'.repeat(breaks));
      else if (space && last && last !== '\n' && last !== '\t') push(' ');
      breaks = 0;
      space = false;
      push(words);
    };
    const need = count => {
      if (last && last !== '\t') breaks = Math.max(breaks, count);
      space = false;
    };
    const words = (data, spaces) => {
      if (spaces === 'preserve' || spaces === 'break-spaces') {
        shown += data.length;
        return data && write(data);
      }
      if (spaces === 'preserve-breaks' && data.includes('\n')) {
        data.split('\n').forEach((line, index) => { if (index) write('\n'); words(line, 'collapse'); });
        return;
      }
      const collapsed = data.replace(/[ \t\n\r\f]+/g, ' ');
      const bare = collapsed.replace(/^ | $/g, '');
      if (collapsed.startsWith(' ')) space = true;
      if (!bare) return;
      shown += bare.length;
      write(bare);
      if (collapsed.endsWith(' ')) space = true;
    };
    const mark = {
      frame(path) {
        flush();
        out.frame(path);
      },
    };
    const walk = (node, spaces, depth) => {
      if (node.nodeType === Node.TEXT_NODE || node.nodeType === Node.CDATA_SECTION_NODE) return words(node.data, spaces);
      if (node.nodeType !== Node.ELEMENT_NODE || depth > MAX_DEPTH || size > wanted.maxChars) return;
      if (isOut(node) || isHidden(node)) return;
      const name = node.localName;
      if (name === 'br') {
        space = false;
        return write('\n');
      }
      const style = styleOf(node);
      const block = isBlock(style.display) || name === 'option' || name === 'text';
      const gap = name === 'p' ? 2 : 1;
      if (block) need(gap);
      if (style.display === 'table-cell' && node.previousElementSibling) {
        breaks = 0;
        space = false;
        if (last) push('\t');
      }
      if (FRAMES.has(name)) {
        need(1);
        const entered = enter(node, mark, inner => walk(inner, 'collapse', depth + 1));
        need(1);
        if (entered || name !== 'object') return;
      }
      eachChild(node, child => walk(child, style.spaces, depth + 1));
      if (block) need(gap);
    };
    walk(root, 'collapse', 0);
    flush();
    return out.found;
  };

  const each = (root, visit, depth) => {
    for (const element of root.querySelectorAll('*')) {
      visit(element);
      if (element.shadowRoot && depth < MAX_DEPTH) each(element.shadowRoot, visit, depth + 1);
    }
  };
  const hrefOf = element => {
    if (!(element.href instanceof SVGAnimatedString)) return element.href;
    try {
      return element.href.baseVal && new URL(element.href.baseVal, element.baseURI).href;
    } catch {
      return '';
    }
  };
  const MAX_HREF = 16384;  // a link to `data:` may hold a whole file
  const links = root => {
    const out = parts();
    const seen = new Set();
    const collect = root => each(root, element => {
      const name = element.localName;
      if ((name === 'a' || name === 'area') && (element.hasAttribute('href') || element.hasAttribute('xlink:href'))) {
        const href = hrefOf(element);
        if (href && href.length <= MAX_HREF && !seen.has(href) && seen.size < wanted.maxLinks) {
          seen.add(href);
          out.add(href);
        }
      } else if (FRAMES.has(name)) {
        enter(element, out, inner => collect(inner.ownerDocument));
      }
    }, 0);
    collect(root.ownerDocument);
    return out.found;
  };

  const escaped = data => data.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  const quoted = value => escaped(value).replace(/"/g, '&quot;');
  // Text that Markdown would read as a tag, an entity or a mark of its own keeps its meaning. U+FDD0, which no text may
  // hold, stands for a backslash: a converter would escape a real one.
  const literal = data => data
    .replace(/\ufdd0/g, '')
    .replace(/&(?=#?\w+;)/g, '&amp;')
    .replace(/<(?=[a-zA-Z\/!?])([^<>]*)>/g, '&lt;$1&gt;')
    .replace(/<(?=[a-zA-Z\/!?])/g, '&lt;')
    .replace(/[*`](?=\S)|(?<=\S)[*`]|(?<!\w)_(?=\S)|(?<=\S)_(?!\w)|~(?=~)|\[(?=[^\]]*\][(\[:])/g, '\ufdd0$&');

  const isNumbers = element => /^[\s\d.:]*$/.test(element.textContent);
  const NUMBERS = /(^|[-_\s])(gutter|lineno|linenos|linenodiv|line-?numbers?|ln-numbers|ln-num|blob-num)([-_\s]|$)/i;
  const isGutter = element => NUMBERS.test(element.getAttribute('class') || '') && isNumbers(element);
  // What a `pre` shows, with its line breaks, without the numbers of its lines.
  const codeOf = root => {
    let code = '';
    const need = () => { if (code && !code.endsWith('\n')) code += '\n'; };
    const walk = (node, depth) => {
      if (node.nodeType === Node.TEXT_NODE) code += node.data;
      if (node.nodeType !== Node.ELEMENT_NODE || depth > MAX_DEPTH || isOut(node)) return;
      if (node.localName === 'br') {
        code += '\n';
        return;
      }
      if (node !== root && isGutter(node)) return;
      const block = node !== root && (node.localName === 'tr' || isBlock(styleOf(node).display));
      if (block) need();
      eachChild(node, child => walk(child, depth + 1));
      if (block) need();
    };
    walk(root, 0);
    return code;
  };
  const languageOf = element => {
    for (const one of [element, ...element.querySelectorAll('code, pre'), element.parentElement,
      element.parentElement?.parentElement]) {
      const classes = one?.getAttribute('class') || '';
      const found = /(?:^|\s)(?:language|lang|highlight-source|brush)[-:]\s*([\w+#.-]+)/.exec(classes);
      if (found) return found[1];
    }
    return '';
  };
  const fenced = (code, language) => `<pre><code${language ? ` class="language-${quoted(language)}"` : ''}>`
    + `${code.startsWith('\n') ? '\n' : ''}${escaped(code.replace(/\n+$/, ''))}\n</code></pre>`;
  // A table that puts the numbers of lines beside code: its code, or null.
  const numberedCode = table => {
    const rows = [...table.rows ?? []];
    if (!rows.length || !rows.every(row => row.cells.length === 2)) return null;
    const numbered = rows.every(({cells: [number]}) => isNumbers(number)
      && (number.textContent.trim() || number.hasAttribute('data-line-number') || isGutter(number)));
    const isCode = cell => cell.querySelector('pre, code') || /code/i.test(cell.getAttribute('class') || '');
    if (!numbered || !rows.every(({cells: [, cell]}) => isCode(cell) || table.closest('pre, code'))) return null;
    return rows.map(({cells: [, cell]}) => codeOf(cell).replace(/\n$/, '')).join('\n');
  };

  const html = root => {
    const out = parts();
    const children = (node, inCode, depth) => {
      eachChild(node, child => walk(child, inCode, depth + 1));
    };
    const image = node => {
      const source = node.currentSrc || node.src;
      const alt = node.getAttribute('alt') || '';
      if (/^https?:/i.test(source)) out.add(`<img src="${quoted(source)}" alt="${quoted(alt)}">`);
      else out.add(escaped(literal(alt)));
    };
    const anchor = (node, inCode, depth) => {
      const href = hrefOf(node);
      if (!href || /^(javascript|data|blob):/i.test(href)) return children(node, inCode, depth);
      const at = out.found.length;
      out.add(`<a href="${quoted(href)}">`);
      children(node, inCode, depth);
      const inner = out.found.slice(at + 1).map(part => typeof part === 'string' ? part : 'frame').join('');
      if (inner.replace(/<(?!img|input)[^>]*>/g, '').trim()) out.add('</a>');
      else out.found.length = at;  // nothing to click on
    };
    const walk = (node, inCode, depth) => {
      if (node.nodeType === Node.TEXT_NODE || node.nodeType === Node.CDATA_SECTION_NODE) {
        shown += node.data.trim().length;
        return out.add(escaped(inCode ? node.data : literal(node.data)));
      }
      if (node.nodeType !== Node.ELEMENT_NODE || depth > MAX_DEPTH || out.size > wanted.maxHtml) return;
      if (isOut(node) || isHidden(node)) return;
      const name = node.localName;
      if (FRAMES.has(name)) {
        out.add('<div>');
        const entered = enter(node, out, inner => walk(inner, false, depth + 1));
        if (!entered && name === 'object') children(node, inCode, depth);
        return out.add('</div>');
      }
      if (name === 'img') return image(node);
      if (name === 'a') return anchor(node, inCode, depth);
      if (name === 'br' || name === 'hr') return out.add(`<${name}>`);
      if (name === 'input') {
        return node.type === 'checkbox' && out.add(`<input type="checkbox"${node.checked ? ' checked' : ''}>`);
      }
      if (name === 'pre') return out.add(fenced(codeOf(node), languageOf(node)));
      if (name === 'table') {
        const code = numberedCode(node);
        if (code !== null) return out.add(fenced(code, languageOf(node)));
      }
      const kept = KEPT.has(name) && node.namespaceURI === XHTML;
      const tag = kept ? name : isBlock(styleOf(node).display) ? 'div' : 'span';
      const attributes = (kept && KEPT_ATTRIBUTES[name] || []).filter(one => node.hasAttribute(one))
        .map(one => ` ${one}="${quoted(node.getAttribute(one))}"`).join('');
      out.add(`<${tag}${attributes}>`);
      children(node, inCode || /^(code|kbd|samp)$/.test(name), depth);
      out.add(`</${tag}>`);
    };
    walk(root, false, 0);
    return out.found.some(part => typeof part !== 'string') ? out.found : [out.found.join('')];
  };

  const root = document.documentElement;
  if (!root) return {text: [], links: [], flat: []};
  return {
    text: wanted.text ? revealing(() => text(root)) : undefined,
    links: wanted.links ? links(root) : undefined,
    flat: wanted.flat ? revealing(() => html(root)) : undefined,
  };
}
