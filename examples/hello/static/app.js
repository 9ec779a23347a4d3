"use strict";

// The live part of the index page. Addresses are relative to the page, so that
// it works wherever the app is mounted.
(() => {
  const $ = (id) => document.getElementById(id);
  const address = (path) => new URL(path, document.baseURI);

  // log puts a line on top of a list and drops those that no longer fit.
  function log(list, text, isNote) {
    const item = document.createElement("li");
    item.textContent = text;
    item.classList.toggle("note", Boolean(isNote));
    list.prepend(item);
    while (list.children.length > 7) list.lastElementChild.remove();
  }

  let source;
  let socket;
  let leaving = false;

  function later(connect, ms) {
    setTimeout(() => { if (!leaving) connect(); }, ms);
  }

  function connectEvents() {
    const current = source = new EventSource(address("events?n=0&interval=1s"));
    current.addEventListener("tick", (event) => {
      const tick = JSON.parse(event.data);
      log($("events"), `#${tick.n} ${new Date(tick.time).toLocaleTimeString()}, worker ticks: ${tick.ticks}`);
    });
    current.addEventListener("draining", () => {
      // The next configuration is there already: no need to wait as long as
      // a browser does by itself.
      log($("events"), "configuration replaced, connecting again", true);
      current.close();
      later(connectEvents, 250);
    });
    current.addEventListener("error", () => {
      // A browser retries unless it was refused.
      if (current.readyState === EventSource.CLOSED) later(connectEvents, 2000);
    });
  }

  function showState(text, isOpen) {
    $("ws-state").textContent = text;
    $("ws-state").classList.toggle("open", isOpen);
    $("ws-send").disabled = !isOpen;
  }

  function connectSocket() {
    const url = address("ws");
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const current = socket = new WebSocket(url.href);
    showState("connecting", false);
    current.addEventListener("open", () => {
      showState("open", true);
      send("hello");
    });
    current.addEventListener("message", (event) => log($("ws-log"), `← ${event.data}`));
    current.addEventListener("close", (event) => {
      showState("closed", false);
      if (event.reason) log($("ws-log"), `${event.code} ${event.reason}`, true);
      later(connectSocket, event.code === 1001 ? 250 : 2000);
    });
  }

  function send(text) {
    if (socket.readyState !== WebSocket.OPEN) return;
    log($("ws-log"), `→ ${text}`);
    socket.send(text);
  }

  $("ws-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("ws-input").value === "") return;
    send($("ws-input").value);
    $("ws-input").value = "";
  });

  function connect() {
    leaving = false;
    connectEvents();
    connectSocket();
  }

  // A page that is left closes its connections, or some browsers report them
  // as broken. It may come back from the browser's cache.
  addEventListener("pagehide", () => {
    leaving = true;
    source.close();
    socket.close();
  });
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });

  connect();
})();
