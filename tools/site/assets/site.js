// What a page does by itself: search, light or dark, the navigation on narrow screens, copying code, and marking where
// one is in the contents. Without it everything can be read all the same.
(function () {
  "use strict";
  var root = document.documentElement, body = document.body;
  var one = function (selector) { return document.querySelector(selector); };
  body.classList.add("script");

  // ---- light or dark ----
  var theme = one(".theme");
  theme.hidden = false;
  theme.addEventListener("click", function () {
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch (e) { /* then for this page alone */ }
  });

  // ---- paper is light, and can't unfold ----
  var before = "";
  addEventListener("beforeprint", function () {
    before = root.dataset.theme || "";
    root.dataset.theme = "light";
    document.querySelectorAll("details").forEach(function (fold) { fold.open = true; });
  });
  addEventListener("afterprint", function () { root.dataset.theme = before; });

  // ---- navigation ----
  var menu = one(".menu");
  if (!body.classList.contains("landing") || matchMedia("(max-width: 860px)").matches) menu.hidden = false;
  menu.addEventListener("click", function () {
    var open = body.classList.toggle("open");
    menu.setAttribute("aria-expanded", open);
    if (open) scrollTo(0, 0);
  });
  var current = one("nav.pages [aria-current]");
  if (current) {
    var pages = one("nav.pages");
    pages.scrollTop = current.offsetTop - pages.clientHeight / 2;
  }

  // ---- code that is copied ----
  if (navigator.clipboard) {
    document.querySelectorAll(".code:not(.source)").forEach(function (block) {
      var button = document.createElement("button");
      button.className = "copy";
      button.textContent = "Copy";
      button.addEventListener("click", function () {
        navigator.clipboard.writeText(block.querySelector("code").textContent).then(function () {
          button.textContent = "Copied";
          setTimeout(function () { button.textContent = "Copy"; }, 1500);
        });
      });
      block.appendChild(button);
    });
  }

  // ---- where one is ----
  var links = Array.prototype.slice.call(document.querySelectorAll(".contents a"));
  var targets = links.map(function (link) { return document.getElementById(decodeURIComponent(link.hash.slice(1))); });
  function mark() {
    var here = -1;
    targets.forEach(function (target, i) { if (target && target.getBoundingClientRect().top < 100) here = i; });
    links.forEach(function (link, i) { link.classList.toggle("here", i === here); });
  }
  if (links.length) {
    addEventListener("scroll", mark, { passive: true });
    mark();
  }

  // ---- search ----
  var box = one(".search"), input = one(".search input"), results = one(".results"), chosen = -1;
  var index = window.dpgIndex || [], top = one(".brand").getAttribute("href").replace(/index\.html$/, "");
  box.hidden = false;

  // All words must be there; a title that begins with one is worth most, then a title that has it, then the text.
  function score(entry, words) {
    var title = entry[1].toLowerCase(), text = entry[3].toLowerCase(), sum = 0;
    for (var i = 0; i < words.length; i++) {
      var word = words[i], at = title.indexOf(word);
      if (at === 0) sum += 12;
      else if (at > 0) sum += /[\w]/.test(title[at - 1]) ? 6 : 9;
      else if (text.indexOf(word) >= 0 || entry[2].toLowerCase().indexOf(word) >= 0) sum += 2;
      else return 0;
    }
    if (words.length > 1 && (title + " " + text).replace(/[-_]/g, " ").indexOf(words.join(" ")) >= 0) sum += 3;
    return sum + (entry[4] === "function" ? 1 : 0) + 4 / (4 + title.length);
  }

  function text(parent, tag, words, string) {
    var node = document.createElement(tag), rest = string;
    while (rest) {
      var at = -1, length = 0;
      words.forEach(function (word) {
        var found = rest.toLowerCase().indexOf(word);
        if (found >= 0 && (at < 0 || found < at)) { at = found; length = word.length; }
      });
      if (at < 0) { node.appendChild(document.createTextNode(rest)); break; }
      node.appendChild(document.createTextNode(rest.slice(0, at)));
      var found = document.createElement("mark");
      found.textContent = rest.substr(at, length);
      node.appendChild(found);
      rest = rest.slice(at + length);
    }
    parent.appendChild(node);
  }

  function excerpt(string, words) {
    var at = 0;
    words.some(function (word) { at = string.toLowerCase().indexOf(word); return at >= 0; });
    var from = Math.max(0, at - 40);
    return (from > 0 ? "… " : "") + string.slice(from, from + 160);
  }

  function search() {
    var words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    results.textContent = "";
    chosen = -1;
    results.hidden = !words.length;
    if (!words.length) return;
    var found = index.map(function (entry) { return [score(entry, words), entry]; })
      .filter(function (pair) { return pair[0] > 0; })
      .sort(function (a, b) { return b[0] - a[0]; }).slice(0, 12);
    found.forEach(function (pair) {
      var entry = pair[1], link = document.createElement("a");
      link.href = top + entry[0];
      link.className = "of-" + entry[4];
      text(link, "b", words, entry[1]);
      if (entry[2]) text(link, "i", words, entry[2]);
      text(link, "span", words, excerpt(entry[3], words));
      results.appendChild(link);
    });
    if (!found.length) {
      var none = document.createElement("p");
      none.textContent = "Nothing has all of these words.";
      results.appendChild(none);
    }
  }

  function choose(step) {
    var all = results.querySelectorAll("a");
    if (!all.length) return;
    if (chosen >= 0) all[chosen].classList.remove("chosen");
    chosen = (chosen + step + all.length) % all.length;
    all[chosen].classList.add("chosen");
    all[chosen].scrollIntoView({ block: "nearest" });
  }

  function close() { results.hidden = true; }

  input.addEventListener("input", search);
  input.addEventListener("focus", search);
  input.addEventListener("keydown", function (event) {
    if (event.key === "ArrowDown") { choose(1); event.preventDefault(); }
    else if (event.key === "ArrowUp") { choose(-1); event.preventDefault(); }
    else if (event.key === "Escape") { input.blur(); close(); }
    else if (event.key === "Enter") {
      var link = results.querySelectorAll("a")[Math.max(chosen, 0)];
      if (link) { close(); location.href = link.href; }
    }
  });
  document.addEventListener("click", function (event) { if (!box.contains(event.target)) close(); });
  document.addEventListener("keydown", function (event) {
    var typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if ((event.key === "/" && !typing) || (event.key === "k" && (event.ctrlKey || event.metaKey))) {
      input.focus();
      event.preventDefault();
    }
  });
})();
