// Keys, differences while one writes, and drafts that survive a reload. The page works without it.
"use strict";
(function () {
  var form = document.getElementById("answer");
  var keys = document.getElementById("keys");
  var sent = false;

  function stored(name, value) {
    try {
      if (value === undefined) return localStorage.getItem(name);
      if (value === null) localStorage.removeItem(name); else localStorage.setItem(name, value);
    } catch (error) { /* a browser that keeps nothing works all the same */ }
    return null;
  }

  if (keys) {
    keys.checked = stored("ftzard-keys") !== "off";
    keys.addEventListener("change", function () {
      stored("ftzard-keys", keys.checked ? "on" : "off");
    });
  }

  function writes(element) {
    return element && (element.tagName === "TEXTAREA" || element.tagName === "SELECT" ||
      (element.tagName === "INPUT" && !/^(checkbox|radio)$/.test(element.type)));
  }

  document.addEventListener("keydown", function (event) {
    var target = event.target;
    if (event.isComposing || event.altKey) return;
    if (writes(target)) {
      if (event.key === "Escape") target.blur();
      if (event.key === "Enter" && form && target.name === "note") {
        event.preventDefault();
        target.blur();
      }
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        var save = document.querySelector("[data-save]");
        if (save) { event.preventDefault(); save.click(); }
      }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.repeat || (keys && !keys.checked)) return;
    // Enter and the space bar on a control that has the focus do what they always do.
    if (event.key === "Enter" && /^(BUTTON|A|SUMMARY)$/.test(target.tagName)) return;
    var wanted = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    var found = Array.prototype.find.call(document.querySelectorAll("[data-key]"), function (one) {
      return one.dataset.key === wanted && !one.disabled;
    });
    if (!found) return;
    event.preventDefault();
    if (found.tagName === "SUMMARY") {
      found.parentElement.open = true;
      found.parentElement.querySelector("input").focus();
    } else {
      found.click();
    }
  });

  if (!form) return;
  var name = "ftzard-draft/" + document.body.dataset.person + "/" + form.dataset.row + "/";
  var fields = form.querySelectorAll("[data-draft]");
  Array.prototype.forEach.call(fields, function (field) {
    var draft = stored(name + field.name);
    if (draft !== null && draft !== "" && field.value.trim() === "") {
      field.value = draft;
      if (field.name === "note") field.closest("details") && (field.closest("details").open = true);
    }
    field.addEventListener("input", function () { stored(name + field.name, field.value || null); });
  });

  form.addEventListener("submit", function (event) {
    if (sent) { event.preventDefault(); return; }
    sent = true;
    Array.prototype.forEach.call(fields, function (field) { stored(name + field.name, null); });
  });
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) location.reload();
  });

  var written = document.getElementById("written");
  var copy = form.querySelector("[data-copy]");
  if (copy && written) {
    copy.addEventListener("click", function () {
      written.value = copy.dataset.copy;
      written.dispatchEvent(new Event("input", {bubbles: true}));
      written.focus();
    });
  }
  var shown = document.getElementById("difference");
  if (written && shown && written.dataset.diff) {
    var timer = 0, asked = 0;
    var ask = function () {
      var number = ++asked, body = new URLSearchParams();
      body.set("form", form.elements.form.value);
      body.set("row", form.elements.row.value);
      body.set("text", written.value);
      fetch(written.dataset.diff, {method: "POST", body: body, credentials: "same-origin"})
        .then(function (answer) { return answer.ok ? answer.text() : ""; })
        .then(function (page) { if (number === asked) shown.innerHTML = page; })
        .catch(function () { /* the next letter asks again */ });
    };
    written.addEventListener("input", function () { clearTimeout(timer); timer = setTimeout(ask, 200); });
    if (written.value.trim()) ask();
  }
})();
