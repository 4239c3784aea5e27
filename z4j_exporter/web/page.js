"use strict";
// Renews the page in place: what has the focus, what is open and where it is scrolled to stay.
(() => {
  const main = document.getElementById("main");
  const notice = document.getElementById("notice");
  const every = Number(main.dataset.refresh) * 1000;
  let timer = 0;
  let asking = false;
  let lostAt = "";

  const keyOf = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || "" : "");
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

  const patch = (old, fresh) => {
    if (old.nodeType !== 1) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const known = new Map();
    for (const child of old.childNodes) if (keyOf(child)) known.set(keyOf(child), child);
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const same = keyOf(child) ? known.get(keyOf(child)) : next;
      if (same && alike(same, child)) {
        if (same === next) next = next.nextSibling;
        else old.insertBefore(same, next);
        patch(same, child);
      } else {
        old.insertBefore(document.importNode(child, true), next);
      }
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  };

  const lost = (why) => {
    lostAt = lostAt || new Date().toLocaleTimeString();
    const said = `${why} since ${lostAt}. What stands below is from before.`;
    if (notice.textContent !== said) notice.textContent = said;
    main.classList.add("stale");
  };

  const renew = async () => {
    if (asking) return;
    asking = true;
    const patience = new AbortController();
    const limit = setTimeout(() => patience.abort(), 10000);
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: patience.signal });
      if (!answer.ok) {
        lost(`The exporter answers with an error (${answer.status})`);
        return;
      }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("main");
      if (!fresh) {
        lost("Something else answers here");
        return;
      }
      const focused = document.activeElement;
      patch(main, fresh);
      if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
      document.title = page.title;
      notice.textContent = lostAt = "";
    } catch {
      lost("The exporter cannot be reached");
    } finally {
      clearTimeout(limit);
      asking = false;
      plan();
    }
  };

  const plan = () => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(renew, every);
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) renew();
  });
  plan();
})();
