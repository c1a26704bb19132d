// Fits the rows so that every picture keeps its shape and every row is full, and opens pictures in a lightbox. It writes
// text and attributes only, never markup: titles come from strangers.
"use strict";

(() => {
  const list = document.querySelector(".rows");
  if (!list) return;
  const tiles = [...list.children];
  const links = tiles.map((tile) => tile.querySelector("a"));

  // --- rows -----------------------------------------------------------------------------------------------------------

  const shapes = tiles.map((tile) => {
    const picture = tile.querySelector("img");
    return picture.getAttribute("width") / picture.getAttribute("height") || 1.5;
  });

  // Where rows begin, so that their heights differ least from the wanted one: the cheapest way through all possible
  // breaks, as a typesetter breaks a paragraph.
  function breakRows(width, gap, wanted) {
    const cost = [0], from = [0];
    for (let end = 1; end <= shapes.length; end++) {
      cost[end] = Infinity;
      let sum = 0;
      for (let start = end - 1; start >= 0; start--) {
        sum += shapes[start];
        const height = (width - gap * (end - start - 1)) / sum;
        const total = cost[start] + (Math.log(height / wanted)) ** 2;
        if (total < cost[end]) {
          cost[end] = total;
          from[end] = start;
        }
        if (height < wanted / 3) break;
      }
    }
    const rows = [];
    for (let end = shapes.length; end > 0; end = from[end]) rows.unshift([from[end], end]);
    return rows;
  }

  let fitted = 0;
  function fit() {
    const width = Math.floor(list.getBoundingClientRect().width);
    if (width === fitted) return;
    fitted = width;
    const gap = parseFloat(getComputedStyle(list).columnGap) || 0;
    const wanted = width < 700 ? Math.max(150, width / 1.9) : Math.min(340, width / 4.1);
    list.classList.add("is-fitted");
    for (const [start, end] of breakRows(width, gap, wanted)) {
      let sum = 0, left = width - gap * (end - start - 1);
      for (let i = start; i < end; i++) sum += shapes[i];
      const height = Math.min(Math.round(left / sum), Math.round(wanted * 1.9));
      for (let i = start; i < end; i++) {
        const share = i === end - 1 && height > left / sum * 0.99 ? left : Math.floor(shapes[i] * height);
        const own = Math.min(left, share);
        left -= own;
        tiles[i].style.width = own + "px";
        tiles[i].style.height = height + "px";
        tiles[i].querySelector("img").sizes = own + "px";
      }
    }
  }
  fit();
  new ResizeObserver(fit).observe(list);

  // --- the lightbox ---------------------------------------------------------------------------------------------------

  const box = document.querySelector(".box");
  if (!box || !box.showModal) return;
  const part = (name) => box.querySelector("." + name);
  const picture = part("stage").querySelector("img");
  let shown = -1;

  const say = (name, text) => { part(name).textContent = text || ""; };

  function describe(link) {
    const about = link.dataset;
    const small = link.querySelector("img");
    picture.alt = small.alt;
    say("title", about.title);
    say("about", about.about);
    say("by", [about.by, about.place].filter(Boolean).join(", "));
    say("camera", about.camera);
    say("rights", about.rights);
    say("count", (shown + 1) + " of " + links.length);
    const original = part("original");
    original.textContent = about.original ? "Original, " + about.size : "";
    if (about.original) original.href = about.original; else original.removeAttribute("href");
  }

  function show(index) {
    if (index < 0 || index >= links.length || index === shown) return;
    shown = index;
    const link = links[index], small = link.querySelector("img");
    picture.classList.add("is-coming");
    picture.width = link.dataset.width;
    picture.height = link.dataset.height;
    picture.src = link.href;
    picture.decode().catch(() => {}).then(() => picture.classList.remove("is-coming"));
    describe(link);
    part("previous").hidden = index === 0;
    part("next").hidden = index === links.length - 1;
    for (const near of [links[index + 1], links[index - 1]]) if (near) new Image().src = near.href;
    small.scrollIntoView({ block: "nearest" });
  }

  const nameOf = (index) => "#" + links[index].id;
  const indexOf = (hash) => links.findIndex((link) => "#" + link.id === hash);

  function open(index) {
    show(index);
    if (!box.open) box.showModal();
  }

  function move(by) {
    const index = shown + by;
    if (index < 0 || index >= links.length) return;
    show(index);
    history.replaceState(history.state, "", nameOf(index));
  }

  function closed() {
    const last = links[shown];
    shown = -1;
    picture.removeAttribute("src");
    if (last) last.focus();
    if (history.state === "box") history.back();
    else if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  }

  links.forEach((link, index) => {
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      history.pushState("box", "", nameOf(index));
      open(index);
    });
  });
  part("previous").addEventListener("click", () => move(-1));
  part("next").addEventListener("click", () => move(1));
  part("close").addEventListener("click", () => box.close());
  box.addEventListener("close", closed);
  box.addEventListener("click", (event) => { if (event.target === part("stage")) box.close(); });
  box.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, PageDown: 1, PageUp: -1, Home: -shown, End: links.length - 1 - shown };
    if (!(event.key in by) || event.metaKey || event.ctrlKey || event.altKey) return;
    event.preventDefault();
    move(by[event.key]);
  });

  let began = null;
  part("stage").addEventListener("pointerdown", (event) => {
    began = event.pointerType === "mouse" ? null : { x: event.clientX, y: event.clientY };
  });
  part("stage").addEventListener("pointerup", (event) => {
    if (!began) return;
    const dx = event.clientX - began.x, dy = event.clientY - began.y;
    began = null;
    if (Math.abs(dx) > 48 && Math.abs(dx) > 2 * Math.abs(dy)) move(dx < 0 ? 1 : -1);
  });

  function follow() {
    const index = indexOf(location.hash);
    if (index >= 0) open(index);
    else if (box.open) box.close();
  }
  addEventListener("popstate", follow);
  follow();
})();
